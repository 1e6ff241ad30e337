//! Two stores on one place, as two servers have them: nothing is given twice, and both give one
//! answer.

use super::{claim, submission};
use std::collections::HashSet;
use tonic_supervisor::agent_queue::{ClearQueueRequest, CreateQueueRequest, server::Store};

/// The same requests, and others, to both stores at once. The place must be new.
pub(crate) async fn what_many_ask_of_two_stores_at_once_is_done_once(stores: [impl Store; 2]) {
    let made =
        stores[0].create_queue(CreateQueueRequest { agent_id: "a".into() }, 0).await.expect("made");
    assert!(!made.already_exists);
    let each = |number: usize| &stores[number % 2];

    let twice =
        (0..40).map(|number| each(number).submit(submission(&format!("name-{}", number % 4)), 1));
    let answers = futures::future::try_join_all(twice).await.expect("submitted");
    let (ids, new): (HashSet<_>, Vec<_>) = answers
        .into_iter()
        .map(|answer| (answer.tasks[0].task_id.clone(), !answer.tasks[0].already_submitted))
        .unzip();
    assert_eq!(
        (ids.len(), new.iter().filter(|new| **new).count()),
        (4, 4),
        "one task for each name"
    );

    let same = (0..20).map(|number| each(number).claim(claim("same", 0.0), 2));
    let answers = futures::future::try_join_all(same).await.expect("claimed");
    let ids: HashSet<_> =
        answers.into_iter().map(|claimed| claimed.answer.task.expect("a task").task_id).collect();
    assert_eq!(ids.len(), 1, "one claim has one task");

    let names: Vec<String> = (0..20).map(|number| format!("claim-{number}")).collect();
    let others =
        names.iter().enumerate().map(|(number, name)| each(number).claim(claim(name, 0.0), 3));
    let answers = futures::future::try_join_all(others).await.expect("answered");
    let given: Vec<_> = answers
        .into_iter()
        .filter_map(|claimed| claimed.answer.task)
        .map(|task| task.task_id)
        .collect();
    assert_eq!(given.iter().collect::<HashSet<_>>().len(), given.len(), "no task is given to two");
    assert_eq!(given.len(), 3, "and each to somebody");

    let request = ClearQueueRequest {
        agent_id: "a".into(),
        status: None,
        confirm: true,
        client_request_id: "clear".into(),
    };
    let cleared = (0..10).map(|number| each(number).clear_queue(request.clone(), 4));
    let answers = futures::future::try_join_all(cleared).await.expect("cleared");
    assert!(
        answers.iter().all(|answer| answer.deleted == 4),
        "all hear the first answer: {answers:?}"
    );
}

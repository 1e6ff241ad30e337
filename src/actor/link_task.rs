//! The task of one link: its dial, and then its driver. One task, because the driver has work to do
//! as soon as the link is up; another would first have to be started, and to find a thread.

use super::{core::Core, message::ConnectionMsg};
use crate::{
    call,
    model::{LinkEnd, StepTimes},
    transport::{Dial, Dialled, FailedDial, Link, LinkEvent, LinkListener, dial_panicked},
};
use futures::{FutureExt as _, future::Either};
use ractor::ActorRef;
use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};
use tokio::task::AbortHandle;

/// Dials, and drives the connection that comes of it; tells `me` how each of the two ended.
pub(super) fn dial_and_drive(
    core: &Core,
    dial: Dial,
    events: Arc<dyn LinkListener>,
    me: ActorRef<ConnectionMsg>,
) -> AbortHandle {
    let (name, panics) = (dial.name.clone(), core.calls.panics.clone());
    let dialled = move |end: Result<(Arc<Link>, Box<StepTimes>), FailedDial>| {
        // A dead actor needs no message.
        let _ = me.cast(ConnectionMsg::Dialled(Box::new(end)));
    };
    // One thread at a time reads and writes it, and a lock or the runtime hands it on.
    let is_dialled = Arc::new(AtomicBool::new(false));
    // Boxed: the task, which stays, would have room for it.
    let dialling =
        Box::pin(panics.at_work("Dial", dial.run(core.connector.clone(), events.clone())));
    let (tell, over) = (dialled.clone(), is_dialled.clone());
    let work = dialling.then(move |end| {
        over.store(true, Relaxed);
        match end {
            Ok(Dialled { link, driver, steps }) => {
                tell(Ok((link, steps)));
                Either::Left(panics.at_work("Driver", driver).map(Some))
            }
            Err(failure) => {
                tell(Err(failure));
                Either::Right(ready(None))
            }
        }
    });
    #[cfg(feature = "tonic-channel")]
    let work = core.calls.chained(work);
    call::spawn_on(&core.calls.runtime, work, move |end: Result<Option<LinkEnd>, String>| {
        let end = match end {
            Ok(None) => return,
            Ok(Some(end)) => end,
            Err(words) if !is_dialled.load(Relaxed) => {
                return dialled(Err(dial_panicked(&name, &words)));
            }
            Err(words) => LinkEnd::ActorFailed(format!("its driver panicked: {words}")),
        };
        events.on_event(LinkEvent::Ended(end));
    })
}

//! What a channel remembers of its methods, and how it learns what they are.

use super::*;

fn methods() -> Methods {
    let authority = Authority::from_static("queue:1");
    let server = Address::new("queue", 1);
    Methods::new(authority, Scheme::HTTP, "queue:1".into(), server)
}

#[test]
fn a_thousand_methods_are_remembered_and_the_others_are_known_to_each_call_anew() {
    let methods = methods();
    let config = Config::default();
    let get =
        |n: usize| methods.get(&format!("/pkg.Service/M{n}").parse().expect("a path"), &config);
    for n in 0..REMEMBERED + 100 {
        get(n).streams(false);
    }
    assert_eq!(methods.known.load().len(), REMEMBERED);
    assert_eq!(get(REMEMBERED - 1).kind(None), CallKind::Streaming);
    assert_eq!(get(REMEMBERED).kind(None), CallKind::Auto);
}

#[test]
fn long_names_and_queries_are_not_remembered() {
    let methods = methods();
    let get = |path: &str| methods.get(&path.parse().expect("a path"), &Config::default());
    for n in 0..10 {
        get(&format!("/pkg.Service/Method?n={n}")).metrics.call_started();
        get(&format!("/pkg.Service/{n:0300}")).metrics.call_started();
    }
    assert_eq!(methods.known.load().len(), 0);
    let counts = methods.counts();
    assert_eq!(counts.len(), 1, "{counts:?}");
    assert_eq!((&*counts[0].method, counts[0].started), ("other", 20));
    get("/pkg.Service/Method");
    assert_eq!(methods.known.load().len(), 1);
}

#[test]
fn descriptors_that_come_later_say_what_a_method_is_and_keep_what_was_counted() {
    let methods = methods();
    let get = || methods.get(&"/pkg.Service/Method".parse().expect("a path"), &Config::default());
    let method = get();
    method.metrics.call_started();
    method.streams(false);
    assert_eq!(method.kind(None), CallKind::Streaming);
    methods.describe([("pkg.Service/Method".to_owned(), CallKind::Unary)]);
    assert_eq!((method.kind(None), get().kind(None)), (CallKind::Unary, CallKind::Unary));
    assert!(Arc::ptr_eq(&method, &get()), "what was said and counted of it stays");
    methods.describe([("pkg.Service/Method".to_owned(), CallKind::Streaming)]);
    assert!(get().is_certainly_unary(), "what it is does not change while it is in use");
}

#[cfg(feature = "bridge")]
#[test]
fn a_server_may_describe_ten_thousand_methods() {
    let methods = methods();
    let told = |n: usize| (format!("pkg.Service/M{n}"), CallKind::Unary);
    methods.describe_as_told((0..TOLD - 1).map(told).collect());
    methods.describe_as_told((TOLD..TOLD + 10).map(told).collect());
    assert_eq!(methods.described.lock().len(), TOLD);
}

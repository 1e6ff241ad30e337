//! What is allowed but probably not intended.
//!
//! Warnings are about what will not work as it reads, and are logged by each supervisor; notes are
//! for the author of a configuration, and never logged.

use super::{
    balancing::Balancing,
    keys::{self, Shape},
    layers::Setting,
    resolve::Period,
    scope::Scope,
    settings::Config,
    target::Target,
    value::Value,
};
use std::time::Duration;

/// The shortest keepalive time that gRPC allows (A8).
const KEEPALIVE_FLOOR: Duration = Duration::from_secs(10);

/// A keepalive time that servers accept by default (A8).
const KEEPALIVE_WELCOME: Duration = Duration::from_secs(300);

/// From here on a time without a unit was probably meant in milliseconds: nobody waits for 16
/// minutes in a call, but 1000 is a second to many programs.
const PERHAPS_MILLISECONDS: f64 = 1_000.0;

pub(super) fn warnings(scope: &Scope<'_>, config: &Config) -> Vec<String> {
    let mut warnings = milliseconds(scope);
    let looks_up = matches!(config.target, Target::Host { .. });
    let spreads = config.balancing != Balancing::PickFirst;
    if looks_up && spreads && config.resolve.period == Period::Never {
        let text = "so new servers are noticed only when a link is lost";
        warnings.push(scope.sentence("resolve.period", text));
    }
    if config.balancing.is_load_aware() && !config.ejects() {
        let text = "so no server is ejected, and one that fails at once looks like the best of all \
                    to `balancing.policy`: it draws calls";
        warnings.push(scope.sentence("ejection.consecutive_failures", text));
    }
    if config.health.service.is_some() && !spreads {
        let text = "and there is one server for all calls: while it says that it does not serve, \
                    they wait for it (other gRPC clients do not ask under pick_first)";
        warnings.push(scope.sentence("health.service", text));
    }
    let keepalive = &config.keepalive;
    if keepalive.floor < KEEPALIVE_FLOOR {
        warnings.push(scope.sentence(
            "keepalive_floor",
            "below gRPC's 10 s: servers close links that ask too often",
        ));
    }
    let (Some(time), Some(effective)) = (keepalive.time, keepalive.effective_time()) else {
        return warnings;
    };
    // Nobody is warned of the default.
    let default =
        keys::find("keepalive_time").and_then(|key| Value::Text(key.default.into()).time().ok());
    if time < effective {
        let text = format!("below grpc.keepalive_floor, and is raised to {effective:?}");
        warnings.push(scope.sentence("keepalive_time", &text));
    } else if time < KEEPALIVE_WELCOME && keepalive.permit_without_calls && Some(time) != default {
        let text = "below the 5 minutes that servers accept unless told otherwise: one that does \
                    not will close idle links";
        warnings.push(scope.sentence("keepalive_time", text));
    }
    warnings
}

pub(super) fn notes(scope: &Scope<'_>, config: &Config) -> Vec<String> {
    let keepalive = &config.keepalive;
    let dead_for = keepalive.effective_time().map(|time| time.saturating_add(keepalive.timeout));
    match config.timeout.zip(dead_for) {
        Some((timeout, dead_for)) if timeout <= dead_for => {
            let key = if scope.explicit("timeout") { "timeout" } else { "keepalive_time" };
            let text = "which leaves a call on a dead link no time: grpc.timeout should exceed \
                        grpc.keepalive_time + grpc.keepalive_timeout";
            vec![scope.sentence(key, text)]
        }
        _ => Vec::new(),
    }
}

/// Times that were written as a bare number, as large as only milliseconds are.
fn milliseconds(scope: &Scope<'_>) -> Vec<String> {
    let doubtful = scope.explicit_settings().filter(|(key, setting)| {
        let takes_time =
            keys::find(key.path).is_some_and(|key| matches!(key.kind.shape, Shape::Time { .. }));
        takes_time && bare_number(setting).is_some_and(|number| number >= PERHAPS_MILLISECONDS)
    });
    let sentence = |(key, setting): (_, &Setting)| {
        let number = bare_number(setting).unwrap_or_default();
        let text = format!(
            "which is in seconds: for milliseconds write `{number}ms`, or `{number}s` if seconds \
             are meant"
        );
        Scope::sentence_about(key, setting, &text)
    };
    doubtful.map(sentence).collect()
}

fn bare_number(setting: &Setting) -> Option<f64> {
    match &setting.value {
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

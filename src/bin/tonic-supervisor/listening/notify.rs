//! Tells systemd how the server is (`sd_notify`): READY when it serves, STOPPING when it drains,
//! and watchdog messages where the unit asks for them (`WatchdogSec=`). Elsewhere nothing is sent.
//!
//! A watchdog message means that this process carries out its tasks, and no more: a database or a
//! server that is away comes back by itself, and a restart would not help it.

use sd_notify::NotifyState;
use std::{fmt, time::Duration};
use tokio::time;

/// It serves.
pub(crate) fn ready(address: impl fmt::Display) {
    notify_systemd(&[NotifyState::Ready, NotifyState::Status(&format!("serves on {address}"))]);
}

/// It drains.
pub(crate) fn stopping() {
    notify_systemd(&[NotifyState::Stopping, NotifyState::Status("lets calls in flight finish")]);
}

/// Gives signs of life, twice as often as they are waited for, until it is dropped.
pub(crate) async fn live() {
    let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero())
    else {
        return;
    };
    let mut watchdog = time::interval((patience / 2).max(Duration::from_millis(1)));
    loop {
        watchdog.tick().await;
        notify_systemd(&[NotifyState::Watchdog]);
    }
}

fn notify_systemd(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(
            target: "tonic_supervisor",
            %error,
            "systemd could not be told how the server is (NOTIFY_SOCKET)"
        );
    }
}

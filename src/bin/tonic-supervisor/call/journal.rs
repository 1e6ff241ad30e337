//! Writes `--explain` while the call runs: takes the supervisor's events as they come, and the
//! command's own steps, and gives their lines out in order.
//!
//! The events that are there already go before each step, so that no step overtakes what led to
//! it. Whoever takes the steps is the same task as `follow`, and polled before it: so it is always
//! `follow` that is woken by the next event.

use super::explain::{End, Explain, Line};
use crate::stdout::{Stdout, plain_json};
use futures::{FutureExt as _, StreamExt as _};
use serde_json::Value;
use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, Write as _},
    task::Poll,
    time::Duration,
};
use tokio::{task::spawn_blocking, time::Instant};
use tonic_supervisor::{EventItem, EventStream};

/// Where everything is written to.
#[derive(Debug)]
pub(super) enum Output {
    Terminal(Stdout),
    /// For tests: what was explained, and what was answered.
    #[cfg(all(test, feature = "test-util"))]
    Kept(std::rc::Rc<RefCell<(Vec<String>, Vec<String>)>>),
}

/// Where the lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Nowhere,
    /// To standard error, beside the answers.
    Beside,
    /// To standard output: they are what was asked for.
    Answers,
}

pub(super) struct Journal {
    explain: RefCell<Explain>,
    /// The supervisor's events, and when it was spawned.
    events: RefCell<Option<(EventStream, Duration)>>,
    output: Output,
    shown: Shown,
    json: bool,
    started: Instant,
}

impl Journal {
    pub(super) fn new(target: String, output: Output, shown: Shown, json: bool) -> Self {
        Self {
            explain: RefCell::new(Explain::new(target)),
            events: RefCell::new(None),
            output,
            shown,
            json,
            started: Instant::now(),
        }
    }

    /// From now on these events are written; the supervisor was spawned at this moment.
    pub(super) fn read(&self, events: EventStream) {
        self.events.replace(Some((events, self.now())));
    }

    /// Writes events as they come, for ever.
    pub(super) async fn follow(&self) -> std::convert::Infallible {
        poll_fn(|cx| {
            if let Some((events, spawned)) = &mut *self.events.borrow_mut() {
                while let Poll::Ready(Some(item)) = events.poll_next_unpin(cx) {
                    self.take(item, *spawned);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Writes the events that are there.
    pub(super) fn catch_up(&self) {
        if let Some((events, spawned)) = &mut *self.events.borrow_mut() {
            while let Some(Some(item)) = events.next().now_or_never() {
                self.take(item, *spawned);
            }
        }
    }

    fn take(&self, item: EventItem, spawned: Duration) {
        match item {
            EventItem::Event(event) => {
                let at = spawned.saturating_add(event.since_spawn);
                let lines = self.explain.borrow_mut().fact(at, &event.fact);
                lines.iter().for_each(|line| self.show(line));
            }
            EventItem::Lagged(missed) => {
                let text = format!("{missed} events came faster than they could be written");
                let line = self.explain.borrow().step(self.now(), "note", &text);
                self.show(&line);
            }
            _ => {}
        }
    }

    /// A step of the command's own.
    pub(super) fn step(&self, what: &'static str, text: &str) {
        self.catch_up();
        let line = self.explain.borrow().step(self.now(), what, text);
        self.show(&line);
    }

    /// Some that belong together.
    pub(super) fn steps(&self, what: &'static str, texts: &[String]) {
        self.catch_up();
        let lines = self.explain.borrow().steps(self.now(), what, texts);
        lines.iter().for_each(|line| self.show(line));
    }

    /// The call begins.
    pub(super) fn begin(&self, method: &str, text: &str) {
        self.catch_up();
        let line = self.explain.borrow_mut().begin(self.now(), method, text);
        self.show(&line);
    }

    /// The call is over.
    pub(super) fn end(&self, end: &End<'_>) {
        self.catch_up();
        let lines = self.explain.borrow().end(self.now(), end);
        lines.iter().for_each(|line| self.show(line));
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn show(&self, line: &Line) {
        if self.shown == Shown::Nowhere {
            return;
        }
        let text = match self.json {
            true => plain_json(&line.object().to_string()).into_owned(),
            false => line.to_string(),
        };
        match (&self.output, self.shown) {
            (Output::Terminal(stdout), Shown::Answers) => stdout.line(&text),
            // Whoever closed standard error does not want to know.
            (Output::Terminal(_), _) => {
                let _ = writeln!(io::stderr(), "{text}");
            }
            #[cfg(all(test, feature = "test-util"))]
            (Output::Kept(kept), _) => kept.borrow_mut().0.push(text),
        }
    }

    /// Writes a line of what was asked for. In a thread of its own: who reads it may be slow, and
    /// the link goes on meanwhile.
    pub(super) async fn answer(&self, text: String) -> io::Result<()> {
        match &self.output {
            Output::Terminal(stdout) => {
                let stdout = *stdout;
                spawn_blocking(move || stdout.try_line(&text)).await.map_err(io::Error::other)?
            }
            #[cfg(all(test, feature = "test-util"))]
            Output::Kept(kept) => {
                kept.borrow_mut().1.push(text);
                Ok(())
            }
        }
    }

    /// The same for an object.
    pub(super) async fn object(&self, object: &Value) -> io::Result<()> {
        self.answer(plain_json(&object.to_string()).into_owned()).await
    }
}

//! The demo's servers: one that keeps its tasks itself, or several with one behind them that keeps
//! the tasks of all. That one is never harmed.

use super::{
    child::{Child, Keeps},
    temp_folder::TempFolder,
};
use crate::CliError;
use std::{net::SocketAddr, path::Path};

/// The servers that are called, and what stands behind them.
#[derive(Debug)]
pub(super) struct Servers {
    called: Vec<Child>,
    /// None: the only one keeps its tasks itself.
    backend: Option<Child>,
}

impl Servers {
    /// So many servers; what they change is written down in the folder's journal. They serve over
    /// TLS where the configuration has it.
    pub(super) async fn start(
        servers: usize,
        folder: &TempFolder,
        config: Option<&Path>,
    ) -> Result<Self, CliError> {
        let keeps = Keeps::Journal(folder.journal());
        if servers == 1 {
            let only = Child::start(keeps, config).await?;
            return Ok(Self { called: vec![only], backend: None });
        }
        let backend = Child::start(keeps, None).await?;
        let mut called = Vec::new();
        for number in 1..=servers {
            let keeps = Keeps::HandsOn { backend: backend.address(), number };
            called.push(Child::start(keeps, config).await?);
        }
        Ok(Self { called, backend: Some(backend) })
    }

    /// Where they are, in the order of their numbers.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.called.iter().map(Child::address).collect()
    }

    /// The server to harm next, if `harmed` were harmed so far: one after another. With it, how it
    /// is called.
    pub(super) fn next(&mut self, harmed: usize) -> (&mut Child, String) {
        let servers = self.called.len();
        let place = harmed % servers;
        let name = if servers == 1 { "the server".into() } else { format!("server {}", place + 1) };
        (&mut self.called[place], name)
    }

    /// Asks all of them to end, and waits.
    pub(super) async fn stop(&mut self) -> Result<(), CliError> {
        for child in self.called.iter_mut().chain(&mut self.backend) {
            child.stop().await?;
        }
        Ok(())
    }
}

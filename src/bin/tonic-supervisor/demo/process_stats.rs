//! What a process takes at one moment: memory and tasks.

use std::fs;
use tokio::runtime::Handle;

/// This process, at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessStats {
    /// Resident memory in KiB; none where the system does not tell.
    pub(super) memory: Option<u64>,
    /// Tasks that the runtime holds.
    pub(super) tasks: u64,
}

impl ProcessStats {
    pub(super) fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").ok();
        Self {
            memory: status.as_deref().and_then(resident),
            tasks: Handle::current().metrics().num_alive_tasks() as u64,
        }
    }

    /// By how many KiB memory grew since `before`.
    pub(super) fn growth(self, before: Self) -> u64 {
        self.memory.unwrap_or_default().saturating_sub(before.memory.unwrap_or_default())
    }
}

/// The line `VmRSS:    5120 kB`.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_where_the_system_tells_it() {
        assert_eq!(resident("Name:\tsoak\nVmRSS:\t    5120 kB\nThreads:\t3\n"), Some(5120));
        assert_eq!(resident("Name:\tsoak\n"), None);
    }
}

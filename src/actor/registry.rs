//! The supervisors of this process, by number and name, for whoever looks at all of them.
//!
//! The list keeps none of them alive: an entry goes with its core.

use super::core::Core;
use crate::model::printable;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, LazyLock, Weak},
};

static LIST: LazyLock<Mutex<List>> = LazyLock::new(Mutex::default);

/// How often a name is tried with another number behind it before the supervisor's own is taken.
const TRIES: u64 = 16;

#[derive(Default)]
struct List {
    last: u64,
    cores: BTreeMap<u64, Weak<Core>>,
    names: HashSet<Arc<str>>,
}

/// An entry; it is taken out when this is dropped.
pub(crate) struct Registered {
    pub(crate) id: u64,
    pub(crate) name: Arc<str>,
}

impl Registered {
    /// A new entry. Where the name is taken, a number is put behind it.
    pub(super) fn new(wanted: &str) -> Self {
        // It stands on pages and in lines.
        let wanted = printable(wanted);
        let mut list = LIST.lock();
        list.last += 1;
        let id = list.last;
        let numbered = (2..2 + TRIES).chain(id..).map(|n| format!("{wanted}-{n}"));
        let mut names = std::iter::once(wanted.to_string()).chain(numbered);
        let free = names.find(|name| !list.names.contains(name.as_str()));
        let name: Arc<str> = free.expect("there is no end of numbers").into();
        list.names.insert(name.clone());
        Self { id, name }
    }

    /// From now on the core is found.
    pub(super) fn show(&self, core: &Arc<Core>) {
        LIST.lock().cores.insert(self.id, Arc::downgrade(core));
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut list = LIST.lock();
        list.cores.remove(&self.id);
        list.names.remove(&self.name);
    }
}

/// All that there are, in the order of their numbers.
pub(crate) fn registered() -> Vec<Arc<Core>> {
    // A core may go while it is looked at: its entry needs the list, which is locked no more then.
    let cores: Vec<Weak<Core>> = LIST.lock().cores.values().cloned().collect();
    cores.iter().filter_map(Weak::upgrade).collect()
}

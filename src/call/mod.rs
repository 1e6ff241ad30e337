//! One call's life, whoever runs it: submitted, entered in the ledger, attempted, answered.

pub(crate) mod alarm;
pub(crate) mod body;
pub(crate) mod credentials;
pub(crate) mod finish;
pub(crate) mod head;
pub(crate) mod ledger;
pub(crate) mod limit;
pub(crate) mod method;
pub(crate) mod mutations;
pub(crate) mod panics;
pub(crate) mod runner;
pub(crate) mod state;
pub(crate) mod submit;
pub(crate) mod task;
pub(crate) mod waiting;

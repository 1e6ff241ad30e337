//! The agent queue as a whole: the command's server in a process of its own, and clients on supervised channels.

mod kill;
mod serve;

//! The promises of the whole crate, kept over loopback and in-memory links.

// Helpers of tests may unwrap, and a test over real sockets may look at the real clock.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[cfg(feature = "test-util")]
mod accounts;
#[cfg(feature = "test-util")]
mod addresses;
#[cfg(all(feature = "agent-queue", feature = "test-util"))]
mod agent_queue_client;
#[cfg(all(feature = "agent-queue", feature = "test-util"))]
mod agent_queue_process;
#[cfg(all(feature = "agent-queue-server", feature = "test-util"))]
mod agent_queue_service;
#[cfg(all(feature = "agent-queue-server", feature = "test-util"))]
mod agent_queue_trouble;
#[cfg(feature = "test-util")]
mod attacked;
#[cfg(feature = "test-util")]
mod cancel;
#[cfg(feature = "test-util")]
mod clean_answers;
#[cfg(feature = "cli")]
mod cli;
#[cfg(all(unix, feature = "cli", feature = "test-util"))]
mod cli_agent;
#[cfg(all(target_os = "linux", feature = "cli", feature = "test-util"))]
mod cli_agent_commands;
mod config;
#[cfg(feature = "test-util")]
mod crash_loops;
#[cfg(feature = "test-util")]
mod credentials;
mod docs;
#[cfg(feature = "test-util")]
mod draining;
#[cfg(feature = "test-util")]
mod drop_in;
#[cfg(feature = "test-util")]
mod dust;
#[cfg(feature = "test-util")]
mod empty_frames;
#[cfg(feature = "test-util")]
mod events;
#[cfg(feature = "test-util")]
mod extreme_times;
#[cfg(feature = "test-util")]
mod fault_page;
#[cfg(feature = "test-util")]
mod faults;
#[cfg(feature = "test-util")]
mod faults_calls;
#[cfg(feature = "test-util")]
mod faults_dials;
#[cfg(feature = "test-util")]
mod faults_links;
#[cfg(feature = "test-util")]
mod faults_retries;
#[cfg(feature = "test-util")]
mod faults_streams;
#[cfg(feature = "test-util")]
mod found_by_simulation;
mod generated;
#[cfg(feature = "test-util")]
mod greetings;
#[cfg(feature = "test-util")]
mod head_status;
#[cfg(feature = "test-util")]
mod header_limits;
#[cfg(feature = "test-util")]
mod hush;
#[cfg(feature = "test-util")]
mod inputs;
mod isolation;
#[cfg(feature = "test-util")]
mod keepalive;
#[cfg(feature = "test-util")]
mod link_stage;
#[cfg(feature = "test-util")]
mod load;
#[cfg(feature = "test-util")]
mod log;
#[cfg(feature = "test-util")]
mod mailbox;
#[cfg(feature = "test-util")]
mod metrics;
#[cfg(feature = "test-util")]
mod odd_calls;
mod pages;
#[cfg(feature = "test-util")]
mod panics;
#[cfg(feature = "test-util")]
mod printed;
#[cfg(all(feature = "agent-queue", feature = "test-util"))]
mod queue_desk;
#[cfg(all(feature = "agent-queue-server", feature = "test-util"))]
mod queue_house;
#[cfg(feature = "test-util")]
mod ractor_facts;
#[cfg(feature = "test-util")]
mod replace;
#[cfg(feature = "test-util")]
mod rig;
#[cfg(feature = "test-util")]
mod runtimes;
#[cfg(feature = "test-util")]
mod said_to_be_unary;
#[cfg(feature = "test-util")]
mod seed;
#[cfg(feature = "test-util")]
mod shutdown;
#[cfg(feature = "test-util")]
mod stage;
#[cfg(feature = "test-util")]
mod targets;
#[cfg(feature = "test-util")]
mod timeouts;
#[cfg(all(feature = "tls-ring", feature = "test-util"))]
mod tls;
#[cfg(feature = "test-util")]
mod tonic_echo;
mod translations;
#[cfg(feature = "test-util")]
mod true_ends;
#[cfg(feature = "test-util")]
mod undescribed;
#[cfg(feature = "test-util")]
mod unheard_tasks;
#[cfg(feature = "test-util")]
mod unreadable;
#[cfg(feature = "test-util")]
mod user_panics;
#[cfg(feature = "test-util")]
mod waiting;
#[cfg(feature = "test-util")]
mod wrong_peer;

//! Pages for people, and what programs get of them.

mod asked;
mod live;
mod pages;
mod probes;
mod protection;

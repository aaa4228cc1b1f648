//! `SqliteKeyStore` on real files: with restarts, damage, other processes and kills.
//!
//! `TOWER_WEBHOOK_KILLS` sets how often a writer is killed (20; a full run has 1000),
//! `TOWER_WEBHOOK_FLIPS` how many flipped bits are tried (400; `all` tries every bit of the file) and
//! `TOWER_WEBHOOK_KEYS` the size of the big file (20000; a full run has 1000000).

mod file;
mod support;

mod access;
mod crash;
mod damage;
mod migration;
mod processes;
mod records;
mod scale;
mod usage;

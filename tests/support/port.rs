//! Ports of the servers that tests start.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// A TCP port of the loopback address that no other test uses, in this process or in another one.
///
/// The lock is a UDP socket on the same number. The numbers are below those of outgoing connections (32768 and up on
/// Linux): one of these may otherwise take the port before the server does, or be connected to itself.
pub(crate) struct Port {
    number: u16,
    _lock: UdpSocket,
}

impl Port {
    pub(crate) fn reserve() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        const FIRST: u16 = 10_000;
        const COUNT: u16 = 10_000;

        let start = std::process::id().wrapping_mul(97) as u16;
        for _ in 0..COUNT {
            let next = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
            let number = FIRST + next % COUNT;
            let address = (Ipv4Addr::LOCALHOST, number);
            if let Ok(lock) = UdpSocket::bind(address)
                && TcpListener::bind(address).is_ok()
            {
                return Self { number, _lock: lock };
            }
        }
        panic!("no port is free");
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

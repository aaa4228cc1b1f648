//! An allocator that looks through each block that is given back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Every part of a secret that has so many bytes counts as a copy of it.
pub const PIECE: usize = 12;

/// As many bytes as the longest secret has.
const LONGEST: usize = 128;

thread_local! {
    static SECRET: Cell<([u8; LONGEST], usize)> = const { Cell::new(([0; LONGEST], 0)) };
    static COPIES: Cell<usize> = const { Cell::new(0) };
}

/// Counts the freed blocks with a piece of the secret that [`copies`] looks for in this thread.
#[derive(Debug)]
pub struct Searching;

/// How many blocks with a piece of the secret the call gives back.
pub fn copies(secret: &[u8], call: impl FnOnce()) -> usize {
    let mut bytes = [0; LONGEST];
    bytes[..secret.len()].copy_from_slice(secret);
    COPIES.set(0);
    SECRET.set((bytes, secret.len()));
    call();
    SECRET.set(([0; LONGEST], 0));
    COPIES.get()
}

fn search(block: &[u8]) {
    let Ok((secret, length)) = SECRET.try_with(Cell::get) else { return };
    let mut pieces = secret[..length].windows(PIECE);
    if length > 0 && pieces.any(|piece| block.windows(PIECE).any(|window| window == piece)) {
        COPIES.set(COPIES.get() + 1);
    }
}

// SAFETY: every call goes to the system's allocator. A block is zeroed when it is made, so that it can be read
// as a whole, and is read before it is given back. `realloc` is the one of the trait, which makes a new block.
unsafe impl GlobalAlloc for Searching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        search(unsafe { std::slice::from_raw_parts(block, layout.size()) });
        unsafe { System.dealloc(block, layout) };
    }
}

//! Which bytes of an LMDB file are in use: what can be reached from its newest meta page.
//!
//! ```text
//! page    pgno u64 | pad u16 | flags u16 | lower u16 | upper u16 | pointers u16... | free | nodes
//!         of an overflow page the number of its pages (u32) stands in place of lower and upper
//! meta    magic u32 | version u32 | address u64 | map size u64 | free db | main db |
//!         last page u64 | transaction u64, after a page's header
//! db      pad u32 | flags u16 | depth u16 | 4 counts u64 | root u64
//! node    low u16 | high u16 | flags u16 | key bytes u16 | key | data
//! ```

use std::collections::HashSet;
use std::ops::Range;

const PAGE_BYTES: usize = 4096;
const HEADER_BYTES: usize = 16;
const META_BYTES: usize = 136;
const DB_BYTES: usize = 48;
const NODE_BYTES: usize = 8;
/// Bytes of a header that say nothing.
const PAD: Range<usize> = 8..10;

const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const OVERFLOW: u16 = 0x04;

const BIG_DATA: u16 = 0x01;
const SUB_DATABASE: u16 = 0x02;

const NO_PAGE: u64 = u64::MAX;

struct Walk<'bytes> {
    bytes: &'bytes [u8],
    seen: HashSet<u64>,
    used: Vec<Range<usize>>,
}

/// The ranges of bytes in use, in no order.
pub fn used(bytes: &[u8]) -> Result<Vec<Range<usize>>, String> {
    let mut walk = Walk { bytes, seen: HashSet::new(), used: vec![] };
    let transaction =
        |page: usize| walk.word(page * PAGE_BYTES + HEADER_BYTES + META_BYTES - 16 + 8);
    let newest = usize::from(transaction(1)? > transaction(0)?);
    let meta = newest * PAGE_BYTES;
    walk.header(meta);
    // Magic and version, the two databases, the last page and the transaction. The address is
    // not used, nor is the map size by a process that asks for its own.
    let databases = meta + HEADER_BYTES + 24;
    walk.used.push(meta + HEADER_BYTES..meta + HEADER_BYTES + 8);
    walk.used.push(databases..databases + 2 * DB_BYTES + 16);
    for database in [databases, databases + DB_BYTES] {
        walk.database(database)?;
    }
    Ok(walk.used)
}

impl Walk<'_> {
    fn half(&self, at: usize) -> Result<u16, String> {
        let bytes = self.bytes.get(at..at + 2).ok_or(format!("no byte at {at}"))?;
        Ok(u16::from_le_bytes(bytes.try_into().expect("2 bytes")))
    }

    fn word(&self, at: usize) -> Result<u64, String> {
        let bytes = self.bytes.get(at..at + 8).ok_or(format!("no byte at {at}"))?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("8 bytes")))
    }

    fn header(&mut self, page: usize) {
        self.used.push(page..page + PAD.start);
        self.used.push(page + PAD.end..page + HEADER_BYTES);
    }

    fn database(&mut self, at: usize) -> Result<(), String> {
        self.page(self.word(at + DB_BYTES - 8)?)
    }

    fn page(&mut self, number: u64) -> Result<(), String> {
        if number == NO_PAGE || !self.seen.insert(number) {
            return Ok(());
        }
        let page = number as usize * PAGE_BYTES;
        let flags = self.half(page + 10)?;
        if flags & (BRANCH | LEAF) == 0 {
            return Err(format!("page {number} has the flags {flags:#x}"));
        }
        self.header(page);
        let lower = usize::from(self.half(page + 12)?);
        self.used.push(page + HEADER_BYTES..page + lower);
        for pointer in (HEADER_BYTES..lower).step_by(2) {
            let node = page + usize::from(self.half(page + pointer)?);
            if flags & BRANCH != 0 { self.branch(node)? } else { self.leaf(node)? }
        }
        Ok(())
    }

    fn branch(&mut self, node: usize) -> Result<(), String> {
        let part = |walk: &Self, i: usize| walk.half(node + i * 2).map(u64::from);
        let child = part(self, 0)? | part(self, 1)? << 16 | part(self, 2)? << 32;
        let key = usize::from(self.half(node + 6)?);
        self.used.push(node..node + NODE_BYTES + key);
        self.page(child)
    }

    fn leaf(&mut self, node: usize) -> Result<(), String> {
        let bytes = usize::from(self.half(node)?) | usize::from(self.half(node + 2)?) << 16;
        let flags = self.half(node + 4)?;
        let data = node + NODE_BYTES + usize::from(self.half(node + 6)?);
        if flags & BIG_DATA != 0 {
            self.used.push(node..data + 8);
            return self.overflow(self.word(data)?, bytes);
        }
        self.used.push(node..data + bytes);
        if flags & SUB_DATABASE != 0 { self.database(data) } else { Ok(()) }
    }

    fn overflow(&mut self, number: u64, bytes: usize) -> Result<(), String> {
        let page = number as usize * PAGE_BYTES;
        if self.half(page + 10)? & OVERFLOW == 0 {
            return Err(format!("page {number} is no overflow page"));
        }
        self.header(page);
        self.used.push(page + HEADER_BYTES..page + HEADER_BYTES + bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two meta pages, the second newer, and a leaf with one pair.
    fn file() -> Vec<u8> {
        let mut bytes = vec![0u8; 3 * PAGE_BYTES];
        for (page, transaction) in [(0, 4u64), (1, 5)] {
            let meta = page * PAGE_BYTES + HEADER_BYTES;
            let (free, main) = (meta + 24, meta + 24 + DB_BYTES);
            bytes[free + 40..free + 48].copy_from_slice(&NO_PAGE.to_le_bytes());
            bytes[main + 40..main + 48].copy_from_slice(&2u64.to_le_bytes());
            bytes[meta + 128..meta + 136].copy_from_slice(&transaction.to_le_bytes());
        }
        let leaf = 2 * PAGE_BYTES;
        bytes[leaf + 10] = LEAF as u8;
        bytes[leaf + 12] = 18;
        bytes[leaf + 16..leaf + 18].copy_from_slice(&4000u16.to_le_bytes());
        let node = leaf + 4000;
        bytes[node] = 5;
        bytes[node + 6] = 3;
        bytes
    }

    #[test]
    fn what_the_newest_meta_page_reaches_is_in_use_and_nothing_else() {
        let used = used(&file()).unwrap();
        let has = |at: usize| used.iter().any(|range| range.contains(&at));
        let leaf = 2 * PAGE_BYTES;
        assert!(has(PAGE_BYTES + HEADER_BYTES + 130), "the newest transaction");
        assert!(!has(HEADER_BYTES + 130), "the one before");
        assert!(has(leaf + 17) && !has(leaf + 18), "the pointers");
        assert!(has(leaf + 4000) && has(leaf + 4015) && !has(leaf + 4016), "the node");
        assert!(!has(leaf + 8), "the pad");
    }

    #[test]
    fn a_page_of_no_kind_is_an_error() {
        let mut bytes = file();
        bytes[2 * PAGE_BYTES + 10] = 0;
        assert!(used(&bytes).unwrap_err().contains("page 2"));
    }
}

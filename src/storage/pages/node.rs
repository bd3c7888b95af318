//! One page, taken apart.

use super::PageError;

/// Bytes before the offsets of a page's nodes.
pub(super) const HEADER_BYTES: usize = 16;
/// Bytes before a node's key.
const NODE_BYTES: usize = 8;

pub(super) const BRANCH: u16 = 1;
pub(super) const LEAF: u16 = 2;
pub(super) const LARGE: u16 = 4;
pub(super) const META: u16 = 8;

/// A leaf's node: its data lies on pages of its own.
const NODE_LARGE: u16 = 1;
/// A leaf's node: its data is a tree.
const NODE_TREE: u16 = 2;

/// What a node leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data<'a> {
    /// The page below.
    Child(u64),
    /// The data itself.
    Here { bytes: &'a [u8], is_tree: bool },
    /// Data of this length, from this page on.
    Large { page: u64, length: usize },
}

/// A node of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node<'a> {
    pub(super) key: &'a [u8],
    pub(super) data: Data<'a>,
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}

/// The kind of page `number`: its flags.
pub(super) fn kind(page: &[u8], number: u64) -> Result<u16, PageError> {
    let wrong = |reason| PageError::Page { page: number, reason };
    if u64_at(page, 0) != Some(number) {
        return Err(wrong("it has another page's number"));
    }
    u16_at(page, 10).ok_or_else(|| wrong("it has no header"))
}

/// The nodes of a branch or leaf page, checked as far as one page tells.
pub(super) fn nodes(page: &[u8], number: u64) -> Result<Vec<Node<'_>>, PageError> {
    let wrong = |reason| PageError::Page { page: number, reason };
    let is_branch = match kind(page, number)? {
        BRANCH => true,
        LEAF => false,
        _ => return Err(wrong("it is neither a branch nor a leaf")),
    };
    let bounds = u16_at(page, 12).zip(u16_at(page, 14));
    let (lower, upper) = bounds.ok_or_else(|| wrong("it has no header"))?;
    let (lower, upper) = (usize::from(lower), usize::from(upper));
    if lower < HEADER_BYTES || lower % 2 != 0 || lower > upper || upper > page.len() {
        return Err(wrong("its free space is impossible"));
    }
    let offsets = page[HEADER_BYTES..lower].chunks_exact(2);
    let mut nodes = Vec::with_capacity(offsets.len());
    let mut places = Vec::with_capacity(offsets.len());
    for offset in offsets {
        let offset = usize::from(u16::from_ne_bytes([offset[0], offset[1]]));
        let (node, length) =
            node_at(page, offset, is_branch).ok_or_else(|| wrong("a node reaches past its end"))?;
        places.push((offset, length));
        nodes.push(node);
    }
    places.sort_unstable();
    let mut next = upper;
    for (offset, length) in places {
        if offset != next {
            return Err(wrong("its nodes do not fill it"));
        }
        next += length;
    }
    if next != page.len() {
        return Err(wrong("its nodes do not fill it"));
    }
    Ok(nodes)
}

/// The node at `offset`, and the bytes it takes.
fn node_at(page: &[u8], offset: usize, is_branch: bool) -> Option<(Node<'_>, usize)> {
    let [low, high, flags] = [0, 2, 4].map(|at| u16_at(page, offset + at));
    let (low, high, flags) = (u64::from(low?), u64::from(high?), flags?);
    let key_bytes = usize::from(u16_at(page, offset + 6)?);
    let key_end = offset + NODE_BYTES + key_bytes;
    let key = page.get(offset + NODE_BYTES..key_end)?;
    if is_branch {
        let child = low | high << 16 | u64::from(flags) << 32;
        return Some((Node { key, data: Data::Child(child) }, even(NODE_BYTES + key_bytes)));
    }
    let length = usize::try_from(low | high << 16).ok()?;
    let (data, stored) = match flags {
        NODE_LARGE => (Data::Large { page: u64_at(page, key_end)?, length }, 8),
        0 | NODE_TREE => {
            let bytes = page.get(key_end..key_end.checked_add(length)?)?;
            (Data::Here { bytes, is_tree: flags == NODE_TREE }, length)
        }
        _ => return None,
    };
    Some((Node { key, data }, even(NODE_BYTES + key_bytes + stored)))
}

fn even(length: usize) -> usize {
    length.next_multiple_of(2)
}

//! Walking the trees of a file, and checking that nothing is missing from them.

use super::PageError;
use super::file::{PageFile, Tree};
use super::node::{Data, Node, nodes};

/// The deepest tree that LMDB walks.
const DEPTH_MAX: usize = 32;

/// Is told the table, the key and the data of each record, in key order; says what is wrong with it.
pub(crate) type Visitor<'a> = dyn FnMut(&str, &[u8], &[u8]) -> Result<(), String> + 'a;

/// The name of the tree of free pages, in errors.
const FREE: &str = "of free pages";
/// The name of the tree of tables, in errors.
const NAMES: &str = "of tables";

impl PageFile {
    /// Reads every page that is in use, and has `visit` see every record of every table.
    pub(crate) fn verify(&self, visit: &mut Visitor<'_>) -> Result<(), PageError> {
        let mut pages = Pages::new(self.pages());
        let mut free = Vec::new();
        let mut walk = Walk { file: self, pages: &mut pages, integer_keys: true };
        walk.tree(FREE, &self.free, &mut |_, record| {
            free.extend(record.data.chunks_exact(8).skip(1).map(|page| {
                u64::from_ne_bytes([
                    page[0], page[1], page[2], page[3], page[4], page[5], page[6], page[7],
                ])
            }));
            Ok(())
        })?;
        let mut tables = Vec::new();
        let mut walk = Walk { file: self, pages: &mut pages, integer_keys: false };
        walk.tree(NAMES, &self.names, &mut |page, record| {
            let tree = Tree::decode(record.data).filter(|_| record.is_tree);
            let wrong = PageError::Page { page, reason: "it has a table that is no tree" };
            tables.push((String::from_utf8_lossy(record.key).into_owned(), tree.ok_or(wrong)?));
            Ok(())
        })?;
        for (name, tree) in &tables {
            walk.tree(name, tree, &mut |_, record| {
                let outcome = match record.is_tree {
                    true => Err("a record is a tree".to_owned()),
                    false => visit(name, record.key, record.data),
                };
                outcome.map_err(|reason| PageError::Record { name: name.clone(), reason })
            })?;
        }
        match free.into_iter().find(|page| pages.contains(*page)) {
            Some(page) => Err(PageError::Page { page, reason: "it is in use, and free" }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
impl PageFile {
    /// The pages that are in use, but for the two meta pages. The file must be right.
    pub(crate) fn pages_in_use(&self) -> Vec<u64> {
        let mut used = Pages::new(self.pages());
        let mut tables = Vec::new();
        let mut walk = Walk { file: self, pages: &mut used, integer_keys: false };
        let outcome = walk.tree(NAMES, &self.names, &mut |_, record| {
            tables.extend(Tree::decode(record.data));
            Ok(())
        });
        outcome.expect("a right file");
        for tree in &tables {
            walk.tree("", tree, &mut |_, _| Ok(())).expect("a right file");
        }
        (2..=self.last_page).filter(|page| used.contains(*page)).collect()
    }
}

/// A record of a tree.
struct Record<'a> {
    key: &'a [u8],
    data: &'a [u8],
    is_tree: bool,
}

type RecordVisitor<'a> = dyn FnMut(u64, Record<'_>) -> Result<(), PageError> + 'a;

/// Pages that were reached.
struct Pages {
    bits: Vec<u64>,
}

impl Pages {
    fn new(pages: u64) -> Self {
        let words = usize::try_from(pages / 64 + 1).unwrap_or(0);
        Self { bits: vec![0; words] }
    }

    fn contains(&self, page: u64) -> bool {
        let word = usize::try_from(page / 64).ok().and_then(|word| self.bits.get(word));
        word.is_some_and(|word| word >> (page % 64) & 1 == 1)
    }

    /// Takes `count` pages from `first` on.
    fn take(&mut self, first: u64, count: u64) -> Result<(), PageError> {
        for page in first..first + count {
            let wrong = |reason| PageError::Page { page, reason };
            if page < 2 || self.contains(page) {
                return Err(wrong("it is used twice"));
            }
            let word = usize::try_from(page / 64).ok().and_then(|word| self.bits.get_mut(word));
            *word.ok_or_else(|| wrong("it lies past the last page"))? |= 1 << (page % 64);
        }
        Ok(())
    }
}

/// What was found of a tree.
#[derive(Default)]
struct Found {
    branch_pages: u64,
    leaf_pages: u64,
    large_pages: u64,
    records: u64,
}

struct Walk<'a> {
    file: &'a PageFile,
    pages: &'a mut Pages,
    integer_keys: bool,
}

impl Walk<'_> {
    fn tree(
        &mut self,
        name: &str,
        tree: &Tree,
        visit: &mut RecordVisitor<'_>,
    ) -> Result<(), PageError> {
        let mut found = Found::default();
        if let Some(root) = tree.root {
            let depth = usize::from(tree.depth);
            if depth == 0 || depth > DEPTH_MAX {
                return Err(PageError::Page {
                    page: root,
                    reason: "its tree's depth is impossible",
                });
            }
            self.page(root, depth, (None, None), &mut found, visit)?;
        }
        let counts = [
            ("branch pages", found.branch_pages, tree.branch_pages),
            ("leaf pages", found.leaf_pages, tree.leaf_pages),
            ("large pages", found.large_pages, tree.large_pages),
            ("records", found.records, tree.records),
        ];
        match counts.into_iter().find(|(_, found, expected)| found != expected) {
            None => Ok(()),
            Some((what, found, expected)) => {
                Err(PageError::Count { name: name.to_owned(), what, found, expected })
            }
        }
    }

    /// A page and all below it, whose keys lie from the first of `bounds` on and below the second.
    fn page(
        &mut self,
        number: u64,
        depth: usize,
        bounds: (Option<&[u8]>, Option<&[u8]>),
        found: &mut Found,
        visit: &mut RecordVisitor<'_>,
    ) -> Result<(), PageError> {
        let wrong = |reason| PageError::Page { page: number, reason };
        let mut bytes = Vec::new();
        self.file.page(number, &mut bytes)?;
        self.pages.take(number, 1)?;
        let nodes = nodes(&bytes, number)?;
        let is_branch = matches!(nodes.first(), Some(Node { data: Data::Child(_), .. }));
        if is_branch == (depth == 1) || nodes.is_empty() {
            return Err(wrong("it is at the wrong depth of its tree"));
        }
        // The first key of a branch stands for everything below the second.
        let keyed = &nodes[usize::from(is_branch)..];
        let ascends = keyed.is_sorted_by(|one, other| self.is_before(one.key, other.key));
        let is_within = |key: &[u8]| {
            bounds.0.is_none_or(|first| !self.is_before(key, first))
                && bounds.1.is_none_or(|end| self.is_before(key, end))
        };
        if !ascends || !keyed.iter().all(|node| is_within(node.key)) {
            return Err(wrong("its keys are out of order"));
        }
        *if is_branch { &mut found.branch_pages } else { &mut found.leaf_pages } += 1;
        for (at, node) in nodes.iter().enumerate() {
            match node.data {
                Data::Child(child) => {
                    let first = if at == 0 { bounds.0 } else { Some(node.key) };
                    let end = nodes.get(at + 1).map(|next| next.key).or(bounds.1);
                    self.page(child, depth - 1, (first, end), found, visit)?;
                }
                Data::Here { bytes, is_tree } => {
                    found.records += 1;
                    visit(number, Record { key: node.key, data: bytes, is_tree })?;
                }
                Data::Large { page, length } => {
                    let (data, pages) = self.file.large(page, length)?;
                    self.pages.take(page, pages)?;
                    found.large_pages += pages;
                    found.records += 1;
                    visit(number, Record { key: node.key, data: &data, is_tree: false })?;
                }
            }
        }
        Ok(())
    }

    fn is_before(&self, one: &[u8], other: &[u8]) -> bool {
        if !self.integer_keys {
            return one < other;
        }
        let number = |key: &[u8]| key.first_chunk().map(|key| u64::from_ne_bytes(*key));
        number(one) < number(other)
    }
}

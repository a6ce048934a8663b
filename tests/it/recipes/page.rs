//! docs/RECIPES.md, taken at its word: the tests get the secrets, the files and the lines that are
//! to be typed from the page itself, so that the page cannot say what was never tried.

use std::fs;

/// A recipe: what stands below one heading.
#[derive(Debug)]
pub(crate) struct Recipe {
    blocks: Vec<Block>,
}

/// A fenced block. Its first line says what it is: a language, then what it is for, as in
/// `text secret=netrc`, `ini file=/etc/app.conf` or `sh as=nightly`.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    kind: String,
    pub(crate) body: String,
}

impl Recipe {
    /// What stands below that heading of a page, which must be there.
    #[track_caller]
    pub(crate) fn of(page: &str, heading: &str) -> Self {
        let text = fs::read_to_string(page).unwrap().replace("\n### ", "\n## ");
        let section = text.split("\n## ").find(|it| it.lines().next() == Some(heading));
        let section = section.unwrap_or_else(|| panic!("{page} has no {heading:?}"));
        Self { blocks: blocks(section) }
    }

    /// A recipe without anything.
    pub(crate) fn empty() -> Self {
        Self { blocks: Vec::new() }
    }

    /// The lines for /etc/fstab.
    pub(crate) fn fstab(&self) -> String {
        let lines = self.blocks.iter().filter(|block| block.kind == "fstab");
        lines.map(|block| block.body.as_str()).collect()
    }

    /// The secrets that are spelled out: name and value.
    pub(crate) fn secrets(&self) -> Vec<(String, String)> {
        self.named("secret")
    }

    /// The files that are spelled out: path and content.
    pub(crate) fn files(&self) -> Vec<(String, String)> {
        self.named("file")
    }

    /// The blocks that are typed: who types them, and what.
    pub(crate) fn typed(&self) -> Vec<(String, String)> {
        let typed = self.blocks.iter().filter(|block| block.kind.starts_with("sh"));
        let who = |block: &Block| block.value("as").unwrap_or("root").to_owned();
        typed.map(|block| (who(block), block.body.clone())).collect()
    }

    /// What is typed and what is printed, as a terminal shows it.
    pub(crate) fn consoles(&self) -> Vec<String> {
        let shown = self.blocks.iter().filter(|block| block.kind == "console");
        shown.map(|block| block.body.clone()).collect()
    }

    fn named(&self, key: &str) -> Vec<(String, String)> {
        let of = |block: &Block| Some((block.value(key)?.to_owned(), block.body.clone()));
        self.blocks.iter().filter_map(of).collect()
    }
}

impl Block {
    fn value(&self, key: &str) -> Option<&str> {
        let mut words = self.kind.split(' ').filter_map(|word| word.split_once('='));
        words.find_map(|(name, value)| (name == key).then_some(value))
    }
}

/// The fenced blocks of a text.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let fenced = text.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    fenced.map(|(kind, body)| Block { kind: kind.to_owned(), body: body.to_owned() }).collect()
}

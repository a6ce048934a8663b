//! What the model asks a vault for, counted: by walking the list, and by a request for each name.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use akvfs::model::event::Event;
use akvfs::model::event::Item;
use akvfs::model::event::Page;
use akvfs::model::event::Word;
use akvfs::model::failure::Denial;
use akvfs::model::failure::Failure;
use akvfs::model::failure::Refusal;
use akvfs::model::failure::Why;
use akvfs::model::moment::Moment;
use akvfs::model::policy::Policy;

use crate::desk::Desk;
use crate::desk::FAR;
use crate::desk::TestValue;
use crate::desk::name;
use crate::desk::seconds;
use crate::desk::version;

const NO_ROLE: Refusal = Refusal::Denied(Denial::Role);

/// A vault that answers at once, and what it was asked.
struct Vault {
    desk: Desk,
    /// The version of each name, and who is refused.
    secrets: BTreeMap<String, u64>,
    refused: BTreeSet<String>,
    list: Result<(), Why>,
    /// What the vault's clock shows, after the newest version was made.
    date: i64,
    walked: usize,
    gets: BTreeMap<String, Vec<Moment>>,
    pages: Vec<Moment>,
}

impl Vault {
    fn with(names: usize, policy: Policy) -> Self {
        Self {
            desk: Desk::with(policy),
            secrets: (0..names).map(|number| (format!("n{number:05}"), 1)).collect(),
            refused: BTreeSet::new(),
            list: Ok(()),
            date: FAR,
            walked: 0,
            gets: BTreeMap::new(),
            pages: Vec::new(),
        }
    }

    fn new(names: usize) -> Self {
        Self::with(names, Policy::default())
    }

    /// Answers whatever is asked.
    fn answer(&mut self) {
        loop {
            if let Some(asked) = self.desk.asked.first().cloned() {
                self.desk.asked.remove(0);
                self.gets.entry(asked.to_string()).or_default().push(self.desk.now);
                let number = self.secrets.get(asked.as_str()).copied();
                let word = match number {
                    _ if self.refused.contains(asked.as_str()) => Word::No(NO_ROLE.into()),
                    None => Word::No(Refusal::Missing.into()),
                    Some(number) if self.desk.cache.holds(&asked) == Some(version(number).id) => {
                        Word::Same(version(number))
                    }
                    Some(number) => Word::New(version(number), TestValue(number)),
                };
                let date = Some(self.date);
                self.desk.tell(Event::Answered { name: asked, word, retry_after: None, date });
            } else if self.desk.pages > 0 {
                self.desk.pages -= 1;
                self.pages.push(self.desk.now);
                let page = match self.list {
                    Ok(()) => Ok(self.page()),
                    Err(why) => Err((why, None)),
                };
                self.desk.tell(Event::Paged(page));
            } else {
                return;
            }
        }
    }

    fn page(&mut self) -> Page {
        let items = self.secrets.iter().skip(self.walked).take(25);
        let item = |(text, number): (&String, &u64)| Item {
            name: name(text),
            enabled: true,
            updated: version(*number).updated,
            created: None,
        };
        let items: Vec<Item> = items.map(item).collect();
        self.walked += items.len();
        let more = self.walked < self.secrets.len();
        if !more {
            self.walked = 0;
        }
        Page { items, more }
    }

    /// Everybody opens everything, once.
    fn open(&mut self, names: usize) {
        let names: Vec<String> = self.secrets.keys().take(names).cloned().collect();
        for text in names {
            self.desk.sight(&text);
            self.desk.open(&text);
            self.answer();
            while !self.desk.asked.is_empty() || self.desk.cache.holds(&name(&text)).is_none() {
                self.pass(Duration::from_millis(50));
            }
        }
    }

    /// For ten seconds, 150 names a second are opened that nobody heard of.
    fn crowd(&mut self) {
        for second in 0..10 {
            for number in 0..150 {
                self.desk.open(&format!("crowd-{second}-{number}"));
                self.answer();
            }
            self.pass(seconds(1));
        }
    }

    /// Time passes, and what is asked is answered.
    fn pass(&mut self, span: Duration) {
        let end = self.desk.now + span;
        loop {
            let wake = self.desk.cache.wake(self.desk.now);
            let next = wake.map_or(end, |wake| wake.max(self.desk.now)).min(end);
            self.desk.pass(next.since(self.desk.now));
            self.answer();
            if next >= end {
                return;
            }
        }
    }

    /// So many refreshes in which everything is looked up all the time, and what they cost.
    fn refreshes(&mut self, count: u32, names: usize) -> Cost {
        self.gets.clear();
        self.pages.clear();
        let names: Vec<String> = self.secrets.keys().take(names).cloned().collect();
        for _ in 0..count {
            self.pass(seconds(60));
            for text in &names {
                self.desk.lookup(text);
            }
            self.answer();
        }
        Cost { gets: self.gets.values().map(Vec::len).sum(), pages: self.pages.len() }
    }
}

#[derive(Debug)]
struct Cost {
    gets: usize,
    pages: usize,
}

#[test]
fn three_hundred_names_that_do_not_change_cost_an_eighth() {
    let mut vault = Vault::new(300);
    vault.open(300);
    vault.refreshes(2, 300);
    // Of any five refreshes, not only in the long run.
    for _ in 0..15 {
        let cost = vault.refreshes(5, 300);
        assert!(cost.gets + cost.pages <= 5 * 300 / 8, "{cost:?}");
        assert!(cost.pages >= 5 * 12, "a walk in each refresh: {cost:?}");
    }
}

#[test]
fn ten_thousand_names_that_do_not_change_cost_an_eighth_and_no_more_than_the_budget() {
    let mut vault = Vault::new(10_000);
    vault.open(10_000);
    vault.refreshes(2, 10_000);
    let cost = vault.refreshes(4, 10_000);
    assert!(cost.gets + cost.pages <= 4 * 10_000 / 8, "{cost:?}");
}

/// Seen: two thousand names rotated at once, which is more than may be asked about in a refresh. Each
/// page of the list then waited behind all of them, and so they were asked about one by one for ever.
#[test]
fn after_everything_rotated_a_walk_confirms_again_what_is_in_use() {
    let mut vault = Vault::new(2_000);
    vault.open(2_000);
    vault.refreshes(2, 2_000);
    vault.secrets.values_mut().for_each(|number| *number = 2);
    vault.refreshes(4, 2_000);
    let cost = vault.refreshes(4, 2_000);
    assert!(cost.gets + cost.pages <= 4 * 2_000 / 8, "{cost:?}");
}

#[test]
fn every_name_is_asked_about_itself_within_confirm() {
    let mut vault = Vault::new(300);
    vault.open(300);
    vault.refreshes(40, 300);
    for (text, asked) in &vault.gets {
        let gaps = asked.windows(2).map(|two| two[1].since(two[0]));
        assert!(gaps.max().is_some_and(|gap| gap <= seconds(15 * 60)), "{text}: {asked:?}");
    }
    assert_eq!(vault.gets.len(), 300);
}

#[test]
fn with_confirm_as_short_as_refresh_each_name_is_asked_about() {
    let mut vault =
        Vault::with(300, Policy { confirm: Duration::from_secs(60), ..Policy::default() });
    vault.open(300);
    let cost = vault.refreshes(10, 300);
    assert_eq!(cost.pages, 0);
    assert!(cost.gets >= 10 * 300, "{cost:?}");
}

#[test]
fn what_rotated_is_fetched_and_nothing_else() {
    let mut vault = Vault::new(300);
    vault.open(300);
    vault.refreshes(3, 300);
    for text in ["n00007", "n00100", "n00299"] {
        vault.secrets.insert(text.to_owned(), 2);
    }
    let cost = vault.refreshes(1, 300);
    // A fifteenth of the names has its turn.
    assert!(cost.gets <= 22 + 3, "{cost:?}");
    for text in ["n00007", "n00100", "n00299"] {
        let node = vault.desk.sight(text).node;
        let caller = vault.desk.read(node);
        assert_eq!(vault.desk.got(caller), Some(2), "{text}");
    }
}

#[test]
fn a_change_within_the_second_in_which_it_was_read_is_not_missed() {
    let mut vault = Vault::new(30);
    vault.date = 2;
    vault.open(30);
    // The list would say the same of another version that was made in the same second, so it is
    // not asked to confirm anything until the vault's clock has moved on.
    let cost = vault.refreshes(1, 30);
    assert!(cost.gets >= 30, "{cost:?}");
    vault.date = FAR;
    vault.refreshes(2, 30);
    let cost = vault.refreshes(5, 30);
    assert!(cost.gets <= 5 * 4, "{cost:?}");
}

#[test]
fn without_the_right_to_list_each_name_in_use_is_asked_about_and_the_list_hardly_ever() {
    let mut vault = Vault::new(20);
    vault.list = Err(Why::Refused(NO_ROLE));
    vault.open(20);
    let cost = vault.refreshes(60, 20);
    assert!(cost.pages <= 5, "{cost:?}");
    for (text, asked) in &vault.gets {
        let gaps = asked.windows(2).map(|two| two[1].since(two[0]));
        let shortest = gaps.min();
        assert!(shortest.is_some_and(|gap| gap >= seconds(51)), "{text}: {shortest:?}");
    }
}

#[test]
fn a_list_that_is_longer_than_what_is_in_use_is_given_up_and_not_tried_at_once_again() {
    let mut vault = Vault::new(10_000);
    vault.open(50);
    let cost = vault.refreshes(30, 50);
    assert!(cost.pages <= 50, "{cost:?}");
    assert!(cost.gets >= 30 * 50, "{cost:?}");
}

#[test]
fn a_right_that_goes_is_noticed_by_the_next_walk_and_then_everything_is_asked_about() {
    let mut vault = Vault::new(300);
    vault.open(300);
    vault.refreshes(5, 300);
    vault.gets.clear();
    let names: Vec<String> = vault.secrets.keys().cloned().collect();
    vault.refused = names.iter().cloned().collect();
    // One refresh, and the time that 300 requests take by the budget.
    vault.pass(seconds(60 + 15));
    for text in names {
        let held = vault.desk.cache.holds(&name(&text));
        assert_eq!(held, None, "{text}");
    }
}

#[test]
fn a_walk_that_fails_makes_each_name_be_asked_about() {
    let mut vault = Vault::new(30);
    vault.open(30);
    vault.refreshes(3, 30);
    vault.list = Err(Why::Failed(Failure::Nonsense));
    let cost = vault.refreshes(1, 30);
    assert!(cost.gets >= 30, "{cost:?}");
}

#[test]
fn a_list_that_is_refused_makes_each_name_be_asked_about_at_once() {
    let mut vault = Vault::new(30);
    vault.open(30);
    vault.refreshes(3, 30);
    vault.gets.clear();
    vault.list = Err(Why::Refused(NO_ROLE));
    vault.refused = vault.secrets.keys().cloned().collect();
    vault.pass(seconds(60));
    assert!(
        (0..30).all(|number| vault.desk.cache.holds(&name(&format!("n{number:05}"))).is_none())
    );
}

#[test]
fn idle_names_are_looked_at_four_times_an_hour_at_most() {
    let mut vault = Vault::new(300);
    vault.open(300);
    vault.pass(seconds(3600));
    vault.gets.clear();
    vault.pass(seconds(3600));
    let looks = vault.gets.values().map(Vec::len);
    assert!(looks.clone().max() <= Some(4) && looks.min() >= Some(2), "{:?}", vault.gets);
}

#[test]
fn a_crowd_of_names_that_nobody_heard_of_makes_the_list_be_learnt_and_waits_by_it() {
    let mut vault = Vault::new(300);
    vault.open(5);
    vault.gets.clear();
    vault.pages.clear();
    vault.crowd();
    let gets: usize = vault.gets.values().map(Vec::len).sum();
    assert_eq!(vault.pages.len(), 12);
    assert!(gets <= 2 * 20 + 2 * 10 + 5, "{gets}");
    let caller = vault.desk.open("n00250");
    vault.answer();
    assert_eq!(vault.desk.got(caller), Some(1), "a name that is listed does not wait");
}

#[test]
fn a_list_that_is_long_is_not_learnt_for_a_crowd() {
    let mut vault = Vault::new(10_000);
    for number in 0..150 {
        vault.desk.open(&format!("crowd-{number}"));
        vault.answer();
    }
    vault.pass(seconds(10));
    assert_eq!(vault.pages.len(), 40);
    for number in 0..150 {
        vault.desk.open(&format!("crowd-again-{number}"));
        vault.answer();
    }
    vault.pass(seconds(10));
    assert_eq!(vault.pages.len(), 40);
}

#[test]
fn without_a_list_a_crowd_of_names_that_are_all_missing_is_asked_about_slowly() {
    let mut vault = Vault::new(300);
    vault.list = Err(Why::Refused(NO_ROLE));
    vault.open(5);
    vault.gets.clear();
    vault.crowd();
    let gets: usize = vault.gets.values().map(Vec::len).sum();
    assert!(gets <= 20 + 20 + 2 * 10 + 10, "{gets}");
}

#[test]
fn without_a_list_many_names_that_are_there_are_asked_about_at_once() {
    let mut vault = Vault::new(150);
    vault.list = Err(Why::Refused(NO_ROLE));
    let callers: Vec<u32> = (0..150)
        .map(|number| {
            let caller = vault.desk.open(&format!("n{number:05}"));
            vault.answer();
            caller
        })
        .collect();
    assert!(callers.iter().all(|caller| vault.desk.got(*caller) == Some(1)));
}

//! Who is asked about next: names that callers wait for first, then names in use, then idle ones;
//! and names that no listing holds at a pace of their own.

use std::collections::HashMap;
use std::collections::VecDeque;

use crate::model::backoff::Backoff;
use crate::model::budget::Bucket;
use crate::model::moment::Moment;
use crate::model::name::SecretName;
use crate::model::policy::BURST;
use crate::model::policy::IN_FLIGHT;
use crate::model::policy::REQUESTS_PER_SECOND;
use crate::model::policy::STRANGERS_BURST;
use crate::model::policy::STRANGERS_PER_SECOND;

/// What a request is for, the most urgent last.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Class {
    /// Somebody may come for it soon.
    Ahead,
    /// Nobody waits, and the name is idle, or it is but the turn of one in use.
    Idle,
    /// Nobody waits, and it is time again for a name in use: a page of the listing may do as well.
    Due,
    /// Nobody waits, and it is for names in use.
    Background,
    /// Somebody at a command line waits to hear whether it changed.
    Refresh,
    /// Somebody waits for a name that a fresh listing does not hold.
    Stranger,
    /// Somebody waits.
    Waited,
    /// Somebody waits, and not for long, for a name whose value is held.
    Held,
}

/// Something to ask the vault.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Wish {
    /// A secret.
    Name(SecretName),
    /// A page of the listing.
    Page,
}

/// The wishes that wait for their turn, and the budget that they share.
#[derive(Debug)]
pub struct Queue {
    held: VecDeque<Wish>,
    waited: VecDeque<Wish>,
    strangers: VecDeque<Wish>,
    refresh: VecDeque<Wish>,
    background: VecDeque<Wish>,
    due: VecDeque<Wish>,
    idle: VecDeque<Wish>,
    ahead: VecDeque<Wish>,
    /// How many went since a name in use had the first turn.
    turns: u32,
    classes: HashMap<Wish, Class>,
    in_flight: usize,
    /// The budget of all requests.
    pub bucket: Bucket,
    /// The budget of names that a fresh listing does not hold.
    pub strange: Bucket,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            held: VecDeque::new(),
            waited: VecDeque::new(),
            strangers: VecDeque::new(),
            refresh: VecDeque::new(),
            background: VecDeque::new(),
            due: VecDeque::new(),
            idle: VecDeque::new(),
            ahead: VecDeque::new(),
            turns: 0,
            classes: HashMap::new(),
            in_flight: 0,
            bucket: Bucket::full(REQUESTS_PER_SECOND, BURST),
            strange: Bucket::full(STRANGERS_PER_SECOND, STRANGERS_BURST),
        }
    }
}

impl Queue {
    /// Puts a wish in line. One that is in line already moves up if it became more urgent.
    pub fn push(&mut self, wish: Wish, class: Class) {
        if self.classes.get(&wish).is_some_and(|known| *known >= class) {
            return;
        }
        self.classes.insert(wish.clone(), class);
        self.line(class).push_back(wish);
    }

    /// Whether a wish is in line.
    #[must_use]
    pub fn holds(&self, wish: &Wish) -> bool {
        self.classes.contains_key(wish)
    }

    /// Takes a wish out of line.
    pub fn withdraw(&mut self, wish: &Wish) {
        self.classes.remove(wish);
    }

    /// Takes a wish out of line that is there only because it was time.
    pub fn spare(&mut self, wish: &Wish) {
        if self.classes.get(wish) == Some(&Class::Due) {
            self.withdraw(wish);
        }
    }

    /// The next wish that may go now. It counts as under way until [`done`](Self::done).
    pub fn next(&mut self, now: Moment, backoff: &Backoff) -> Option<Wish> {
        // A crowd that waits must not keep a refusal of what is in use from being heard.
        let turn: &[Class] = if self.turns >= TURNS_WAITED { &IN_USE } else { &[] };
        for class in turn.iter().copied().chain(CLASSES) {
            if self.first(class).is_none() || self.ready(now, backoff, class)? > now {
                continue;
            }
            let taken = class != Class::Stranger || self.strange.take(now);
            if taken && self.bucket.take(now) {
                let wish = self.line(class).pop_front()?;
                self.classes.remove(&wish);
                self.in_flight += 1;
                self.turns = if IN_USE.contains(&class) { 0 } else { self.turns.saturating_add(1) };
                return Some(wish);
            }
        }
        None
    }

    /// A request that was under way has ended.
    pub fn done(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// When something in line may go, if nothing but time is missing.
    pub fn wake(&mut self, now: Moment, backoff: &Backoff) -> Option<Moment> {
        CLASSES
            .into_iter()
            .filter_map(|class| {
                self.first(class)?;
                self.ready(now, backoff, class)
            })
            .min()
    }

    /// When a wish of this class may go: not before a request ends, if that is `None`.
    fn ready(&self, now: Moment, backoff: &Backoff, class: Class) -> Option<Moment> {
        let most = if backoff.probing() { 1 } else { IN_FLIGHT };
        if self.in_flight >= most {
            return None;
        }
        let waited = class > Class::Background;
        let ready = backoff.ready(now, waited).max(self.bucket.ready(now));
        Some(match class {
            Class::Held | Class::Waited | Class::Refresh => ready,
            Class::Background | Class::Due | Class::Idle => ready,
            Class::Stranger => ready.max(self.strange.ready(now)),
            Class::Ahead => ready.max(self.bucket.half(now)),
        })
    }

    /// The first wish of a line that still belongs in it.
    fn first(&mut self, class: Class) -> Option<Wish> {
        loop {
            let wish = self.line(class).front()?.clone();
            if self.classes.get(&wish) == Some(&class) {
                return Some(wish);
            }
            self.line(class).pop_front();
        }
    }

    fn line(&mut self, class: Class) -> &mut VecDeque<Wish> {
        match class {
            Class::Held => &mut self.held,
            Class::Waited => &mut self.waited,
            Class::Stranger => &mut self.strangers,
            Class::Refresh => &mut self.refresh,
            Class::Background => &mut self.background,
            Class::Due => &mut self.due,
            Class::Idle => &mut self.idle,
            Class::Ahead => &mut self.ahead,
        }
    }
}

/// The most urgent first.
const CLASSES: [Class; 8] = [
    Class::Held,
    Class::Waited,
    Class::Stranger,
    Class::Refresh,
    Class::Background,
    Class::Due,
    Class::Idle,
    Class::Ahead,
];

/// What is for names in use.
const IN_USE: [Class; 2] = [Class::Background, Class::Due];

/// Those who wait have so many turns, then a name in use has one.
const TURNS_WAITED: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(name: &str) -> Wish {
        Wish::Name(SecretName::parse(name).unwrap())
    }

    #[test]
    fn those_who_wait_go_first_and_eight_at_a_time() {
        let mut queue = Queue::default();
        let now = Moment::default();
        for number in 0..20 {
            queue.push(wish(&format!("b{number}")), Class::Background);
        }
        queue.push(wish("b7"), Class::Waited);
        let calm = Backoff::default();
        assert_eq!(queue.next(now, &calm), Some(wish("b7")));
        let more = std::iter::from_fn(|| queue.next(now, &calm)).count();
        assert_eq!(more, 7);
        queue.done();
        assert!(queue.next(now, &calm).is_some());
        assert!(queue.next(now, &calm).is_none());
    }

    #[test]
    fn a_name_in_use_has_every_fourth_turn_and_a_held_one_that_is_waited_for_the_next() {
        let mut queue = Queue::default();
        let calm = Backoff::default();
        for number in 0..9 {
            queue.push(wish(&format!("w{number}")), Class::Waited);
            queue.push(wish(&format!("b{number}")), Class::Background);
        }
        let turn = |queue: &mut Queue| {
            let wish = queue.next(Moment::default(), &calm);
            queue.done();
            match wish {
                Some(Wish::Name(name)) => name.to_string(),
                Some(Wish::Page) | None => String::new(),
            }
        };
        let first: Vec<String> = (0..8).map(|_| turn(&mut queue)).collect();
        assert_eq!(first, ["w0", "w1", "w2", "b0", "w3", "w4", "w5", "b1"]);
        queue.push(wish("held"), Class::Held);
        assert_eq!(turn(&mut queue), "held");
    }

    #[test]
    fn looking_ahead_never_takes_the_last_half_of_the_burst() {
        let mut queue = Queue::default();
        let calm = Backoff::default();
        for number in 0..200 {
            queue.push(wish(&format!("a{number}")), Class::Ahead);
        }
        let mut asked = 0;
        while queue.next(Moment::default(), &calm).is_some() {
            asked += 1;
            queue.done();
        }
        assert_eq!(asked, BURST / 2);
    }

    #[test]
    fn strangers_are_asked_about_at_a_pace_of_their_own() {
        let mut queue = Queue::default();
        let calm = Backoff::default();
        for number in 0..50 {
            queue.push(wish(&format!("s{number}")), Class::Stranger);
        }
        let mut asked = 0;
        while queue.next(Moment::default(), &calm).is_some() {
            asked += 1;
            queue.done();
        }
        assert_eq!(asked, 20);
        queue.push(wish("known"), Class::Waited);
        assert_eq!(queue.next(Moment::default(), &calm), Some(wish("known")));
    }
}

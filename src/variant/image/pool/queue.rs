use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What a job that has just begun is taken to cost until it has ended: without it a site's second job would
/// begin beside its first as if that were free.
const GUESS: Duration = Duration::from_millis(50);

/// Sites whose account is kept although nothing of theirs waits.
const ACCOUNTS_MAX: usize = 1024;

/// How much a job is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// Somebody waits for it.
    Answer,
    /// It goes on behind an answer that was given without it.
    Behind,
    /// It takes the place of one that serves already: the best result, when there is nothing else to do.
    Upgrade,
}

impl Urgency {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Answer, Self::Behind, Self::Upgrade];

    /// A closed word, for labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Behind => "behind",
            Self::Upgrade => "upgrade",
        }
    }
}

/// A job and what the queue must know of it.
#[derive(Debug)]
pub(super) struct Entry<J> {
    pub(super) number: u64,
    pub(super) site: Arc<str>,
    pub(super) source: u128,
    pub(super) urgency: Urgency,
    pub(super) job: J,
}

/// The jobs that wait: the most urgent first, and among those of one urgency the next of the site that has had the
/// least of the threads' time. Bounded as a whole, and so that one site cannot keep the others out.
pub(super) struct Queue<J> {
    classes: [HashMap<Arc<str>, VecDeque<Entry<J>>>; Urgency::ALL.len()],
    length: usize,
    limit: usize,
    /// Time that the threads have spent on each site, from a common start that moves on.
    accounts: HashMap<Arc<str>, Duration>,
    /// The account of the site that was served last: who comes back begins here, so that nobody saves up.
    served: Duration,
}

/// What became of a push.
#[derive(Debug)]
pub(super) enum Pushed<J> {
    /// It waits.
    Waits,
    /// It waits in the place of this one.
    InPlaceOf(Entry<J>),
    /// There is no room for it.
    Full,
}

impl<J> Queue<J> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            classes: std::array::from_fn(|_| HashMap::new()),
            length: 0,
            limit: limit.max(1),
            accounts: HashMap::new(),
            served: Duration::ZERO,
        }
    }

    /// Jobs that wait with this urgency.
    pub(super) fn waiting(&self, urgency: Urgency) -> usize {
        let class = self.classes.get(urgency as usize);
        class.map_or(0, |class| class.values().map(VecDeque::len).sum())
    }

    /// Adds a job. A full queue gives up what is less urgent, and then what one site has beyond its half.
    pub(super) fn push(&mut self, entry: Entry<J>) -> Pushed<J> {
        let share = self.limit.div_ceil(2);
        let own = self.of_site(&entry.site);
        if own >= share && own < self.length {
            return Pushed::Full;
        }
        let displaced = match self.length < self.limit {
            true => None,
            false => match self.displaced_by(&entry) {
                Some(displaced) => Some(displaced),
                None => return Pushed::Full,
            },
        };
        self.enter(entry);
        displaced.map_or(Pushed::Waits, Pushed::InPlaceOf)
    }

    /// Takes the next of the urgencies up to `least` that is `ready`, and charges its site.
    pub(super) fn take(
        &mut self,
        least: Urgency,
        ready: impl Fn(&Entry<J>) -> bool,
    ) -> Option<Entry<J>> {
        for urgency in Urgency::ALL.into_iter().filter(|urgency| *urgency <= least) {
            let found = self.next_of(urgency, &ready);
            let Some((site, index)) = found else { continue };
            let entry = self.leave(urgency, &site, index)?;
            let account = self.accounts.entry(site).or_insert(self.served);
            self.served = self.served.max(*account);
            *account += GUESS;
            return Some(entry);
        }
        None
    }

    /// A job of `site` that was taken has ended and has taken `spent`.
    pub(super) fn spent(&mut self, site: &str, spent: Duration) {
        if let Some(account) = self.accounts.get_mut(site) {
            *account = account.saturating_sub(GUESS) + spent;
        }
    }

    /// Takes a job out that waits.
    pub(super) fn remove(&mut self, number: u64, site: &str) -> Option<Entry<J>> {
        for urgency in Urgency::ALL {
            let class = self.classes.get(urgency as usize)?;
            let Some((key, jobs)) = class.get_key_value(site) else {
                continue;
            };
            if let Some(index) = jobs.iter().position(|entry| entry.number == number) {
                let key = Arc::clone(key);
                return self.leave(urgency, &key, index);
            }
        }
        None
    }

    /// Changes how urgent a waiting job is.
    pub(super) fn turn(&mut self, number: u64, site: &str, urgency: Urgency) {
        if let Some(entry) = self.remove(number, site) {
            self.enter(Entry { urgency, ..entry });
        }
    }

    /// Gives up all jobs.
    pub(super) fn clear(&mut self) {
        self.classes.iter_mut().for_each(HashMap::clear);
        self.length = 0;
    }

    fn of_site(&self, site: &str) -> usize {
        let classes = self.classes.iter();
        classes
            .filter_map(|class| class.get(site))
            .map(VecDeque::len)
            .sum()
    }

    fn next_of(
        &self,
        urgency: Urgency,
        ready: &impl Fn(&Entry<J>) -> bool,
    ) -> Option<(Arc<str>, usize)> {
        let class = self.classes.get(urgency as usize)?;
        let account = |site: &Arc<str>| self.accounts.get(site).copied().unwrap_or_default();
        class
            .iter()
            .filter_map(|(site, jobs)| Some((site, jobs.iter().position(ready)?)))
            // Of two that have had the same, the one whose job came first.
            .min_by_key(|(site, index)| {
                let jobs = class.get(*site);
                let entry = jobs.and_then(|jobs| jobs.get(*index));
                (account(site), entry.map(|entry| entry.number))
            })
            .map(|(site, index)| (Arc::clone(site), index))
    }

    /// The newest of the least urgent jobs, or of the site that has too many.
    fn displaced_by(&mut self, entry: &Entry<J>) -> Option<Entry<J>> {
        let less_urgent = Urgency::ALL.into_iter().rev();
        for urgency in less_urgent.take_while(|urgency| *urgency > entry.urgency) {
            if let Some(site) = self.longest(urgency, None) {
                return self.drop_last(urgency, &site);
            }
        }
        let site = self.longest(entry.urgency, Some(&entry.site))?;
        let has_too_many = self.of_site(&site) > self.limit / 2;
        has_too_many
            .then(|| self.drop_last(entry.urgency, &site))
            .flatten()
    }

    fn longest(&self, urgency: Urgency, besides: Option<&str>) -> Option<Arc<str>> {
        let class = self.classes.get(urgency as usize)?;
        class
            .iter()
            .filter(|(site, _)| besides != Some(&***site))
            .max_by_key(|(_, jobs)| jobs.len())
            .map(|(site, _)| Arc::clone(site))
    }

    fn drop_last(&mut self, urgency: Urgency, site: &Arc<str>) -> Option<Entry<J>> {
        let jobs = self.classes.get(urgency as usize)?.get(site)?;
        let last = jobs.len().checked_sub(1)?;
        self.leave(urgency, site, last)
    }

    fn enter(&mut self, entry: Entry<J>) {
        if self.accounts.len() >= ACCOUNTS_MAX {
            let served = self.served;
            self.accounts.retain(|_, account| *account > served);
        }
        if self.of_site(&entry.site) == 0 {
            let account = self.accounts.entry(Arc::clone(&entry.site)).or_default();
            *account = self.served.max(*account);
        }
        if let Some(class) = self.classes.get_mut(entry.urgency as usize) {
            let jobs = class.entry(Arc::clone(&entry.site)).or_default();
            // One that was turned keeps its turn.
            let place = jobs.partition_point(|other| other.number < entry.number);
            jobs.insert(place, entry);
            self.length += 1;
        }
    }

    fn leave(&mut self, urgency: Urgency, site: &Arc<str>, index: usize) -> Option<Entry<J>> {
        let class = self.classes.get_mut(urgency as usize)?;
        let jobs = class.get_mut(site)?;
        let entry = jobs.remove(index)?;
        if jobs.is_empty() {
            class.remove(site);
        }
        self.length -= 1;
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64, site: &str, urgency: Urgency) -> Entry<()> {
        Entry {
            number,
            site: site.into(),
            source: u128::from(number),
            urgency,
            job: (),
        }
    }

    fn filled(limit: usize, entries: &[(u64, &str, Urgency)]) -> Queue<()> {
        let mut queue = Queue::new(limit);
        for (number, site, urgency) in entries {
            let pushed = queue.push(entry(*number, site, *urgency));
            assert!(matches!(pushed, Pushed::Waits), "{number}");
        }
        queue
    }

    /// The order in which the jobs of `queue` are taken, when each takes `cost`.
    fn order(queue: &mut Queue<()>, cost: impl Fn(u64) -> u64) -> Vec<u64> {
        std::iter::from_fn(|| {
            let taken = queue.take(Urgency::Upgrade, |_| true)?;
            queue.spent(&taken.site, Duration::from_millis(cost(taken.number)));
            Some(taken.number)
        })
        .collect()
    }

    #[test]
    fn the_most_urgent_goes_first_whoever_it_is_of() {
        use Urgency::{Answer, Behind, Upgrade};
        let mut queue = filled(
            9,
            &[
                (1, "a", Upgrade),
                (2, "a", Behind),
                (3, "b", Behind),
                (4, "a", Answer),
            ],
        );
        assert_eq!(order(&mut queue, |_| 1), [4, 3, 2, 1]);
    }

    #[test]
    fn sites_share_the_time_and_not_the_number_of_jobs() {
        let jobs: Vec<_> = (0..6).map(|n| (n, "large", Urgency::Answer)).collect();
        let mut queue = filled(20, &jobs);
        for number in 10..16 {
            queue.push(entry(number, "small", Urgency::Answer));
        }
        let cost = |number| if number < 10 { 300 } else { 100 };
        let order = order(&mut queue, cost);
        assert_eq!(order[..8], [0, 10, 11, 12, 1, 13, 14, 15], "{order:?}");
    }

    #[test]
    fn who_comes_back_has_saved_nothing_up() {
        let mut queue = filled(20, &[(0, "a", Urgency::Answer), (1, "b", Urgency::Answer)]);
        order(&mut queue, |_| 100);
        for number in 2..9 {
            queue.push(entry(number, "a", Urgency::Answer));
            order(&mut queue, |_| 100);
        }
        for number in 10..14 {
            queue.push(entry(number, "b", Urgency::Answer));
            queue.push(entry(number + 10, "a", Urgency::Answer));
        }
        let order = order(&mut queue, |_| 100);
        let of_a = order[..4].iter().filter(|number| **number >= 20).count();
        assert!(of_a >= 1, "{order:?}");
    }

    #[test]
    fn one_site_has_at_most_half_while_others_wait_and_all_of_it_alone() {
        let all: Vec<_> = (0..4).map(|n| (n, "a", Urgency::Answer)).collect();
        let mut queue = filled(4, &all);
        assert!(matches!(
            queue.push(entry(8, "a", Urgency::Answer)),
            Pushed::Full
        ));
        let Pushed::InPlaceOf(displaced) = queue.push(entry(9, "b", Urgency::Answer)) else {
            panic!("another site gets in");
        };
        assert_eq!(displaced.number, 3, "the newest of the site that has most");
        assert!(matches!(
            queue.push(entry(10, "a", Urgency::Answer)),
            Pushed::Full
        ));
        assert!(matches!(
            queue.push(entry(11, "b", Urgency::Answer)),
            Pushed::InPlaceOf(Entry { number: 2, .. })
        ));
        assert!(matches!(
            queue.push(entry(12, "b", Urgency::Answer)),
            Pushed::Full
        ));
    }

    #[test]
    fn a_full_queue_gives_up_what_is_less_urgent() {
        let mut queue = filled(2, &[(1, "a", Urgency::Upgrade), (2, "b", Urgency::Answer)]);
        assert!(matches!(
            queue.push(entry(3, "a", Urgency::Upgrade)),
            Pushed::Full
        ));
        assert!(matches!(
            queue.push(entry(4, "c", Urgency::Behind)),
            Pushed::InPlaceOf(Entry { number: 1, .. })
        ));
    }

    #[test]
    fn what_is_not_ready_lets_others_pass_and_a_turned_job_keeps_its_turn() {
        let mut queue = filled(
            9,
            &[
                (1, "a", Urgency::Answer),
                (2, "a", Urgency::Answer),
                (3, "a", Urgency::Behind),
            ],
        );
        let taken = queue.take(Urgency::Upgrade, |entry| entry.number != 1);
        assert_eq!(taken.unwrap().number, 2);
        queue.turn(1, "a", Urgency::Behind);
        assert_eq!(queue.waiting(Urgency::Answer), 0);
        assert!(queue.take(Urgency::Answer, |_| true).is_none());
        assert_eq!(order(&mut queue, |_| 1), [1, 3]);
        assert!(queue.remove(1, "a").is_none());
    }
}

use http::{HeaderMap, HeaderName, StatusCode};

use super::{Condition, Question};

/// A site has no more rules: which of them hold fits one machine word.
pub const RULES_MAX: usize = 128;

/// The rules of a site, in order. `T` is what a rule does.
#[derive(Debug, Clone, PartialEq)]
pub struct Program<T> {
    rules: Vec<Rule<T>>,
    of_response: Set,
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule<T> {
    /// Its name in explanations.
    pub name: String,
    /// When it holds.
    pub when: Condition,
    /// Whether the rules behind it are left out when it holds.
    pub stop: bool,
    /// What it does.
    pub action: T,
}

/// Some rules of a program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Set(u128);

/// What a request says about the rules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    /// Rules that the request meets; those about responses among them may still fall to the response.
    pub candidates: Set,
    /// Rules whose outcome hung on the request's fields: the answer varies by those.
    pub by_headers: Set,
}

impl<T> Program<T> {
    /// A program of `rules`; those beyond [`RULES_MAX`] never hold.
    #[must_use]
    pub fn new(rules: Vec<Rule<T>>) -> Self {
        let mut of_response = Set::default();
        for (rule, place) in rules.iter().zip(0..) {
            if rule.when.is_of_response() {
                of_response.add(place);
            }
        }
        Self { rules, of_response }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Which rules a request meets. Allocates nothing, unless a rule tests a parameter that is escaped.
    #[must_use]
    pub fn select(&self, question: &Question<'_>) -> Selection {
        let mut selection = Selection::default();
        for (rule, place) in self.rules.iter().zip(0..RULES_MAX) {
            if !rule.when.admits(question) {
                continue;
            }
            if !rule.when.headers.is_empty() {
                selection.by_headers.add(place);
                if !rule.when.admits_headers(question.headers) {
                    continue;
                }
            }
            selection.candidates.add(place);
            // Whether a rule about responses ends the list is known only later.
            if rule.stop && !rule.when.is_of_response() {
                break;
            }
        }
        selection
    }

    /// The candidates that hold whatever the response is.
    #[must_use]
    pub fn before_response(&self, candidates: Set) -> Set {
        Set(candidates.0 & !self.of_response.0)
    }

    /// The candidates on which the response has a say.
    #[must_use]
    pub fn awaiting_response(&self, candidates: Set) -> Set {
        Set(candidates.0 & self.of_response.0)
    }

    /// The candidates that hold for a response with this head.
    #[must_use]
    pub fn with_response(&self, candidates: Set, status: StatusCode, headers: &HeaderMap) -> Set {
        let mut held = Set::default();
        for (place, rule) in self.places(candidates) {
            if rule.when.admits_response(status, headers) {
                held.add(place);
                if rule.stop {
                    break;
                }
            }
        }
        held
    }

    /// The rules of a set, in order.
    pub fn rules(&self, set: Set) -> impl DoubleEndedIterator<Item = &Rule<T>> {
        self.places(set).map(|(_, rule)| rule)
    }

    /// All rules, in order.
    #[must_use]
    pub fn all(&self) -> &[Rule<T>] {
        &self.rules
    }

    /// The request fields that the rules of a set look at, each once.
    #[must_use]
    pub fn fields(&self, set: Set) -> Vec<HeaderName> {
        let mut fields = Vec::new();
        for (name, _) in self.rules(set).flat_map(|rule| &rule.when.headers) {
            if !fields.contains(name) {
                fields.push(name.clone());
            }
        }
        fields
    }

    fn places(&self, set: Set) -> impl DoubleEndedIterator<Item = (usize, &Rule<T>)> {
        let all = self.rules.iter().enumerate();
        all.filter(move |(place, _)| set.has(*place))
    }
}

impl<T> Default for Program<T> {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Set {
    /// Whether it has none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn add(&mut self, place: usize) {
        self.0 |= bit(place);
    }

    fn has(self, place: usize) -> bool {
        self.0 & bit(place) != 0
    }
}

fn bit(place: usize) -> u128 {
    let place = u32::try_from(place).unwrap_or(u32::MAX);
    1_u128.checked_shl(place).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::super::condition::tests::{fields, paths};
    use super::super::{Pattern, StatusTest, ValueTest};
    use super::*;

    fn rule(when: Condition, stop: bool) -> Rule<()> {
        Rule {
            name: String::new(),
            when,
            stop,
            action: (),
        }
    }

    fn on(path: &str) -> Condition {
        Condition {
            paths: paths(&[path]),
            ..Condition::default()
        }
    }

    fn errors() -> Condition {
        Condition {
            statuses: vec![StatusTest::Class(4)],
            ..Condition::default()
        }
    }

    fn select(program: &Program<()>, path: &str, headers: &HeaderMap) -> Selection {
        program.select(&Question {
            method: &Method::GET,
            path,
            query: None,
            headers,
            peer: [192, 0, 2, 7].into(),
        })
    }

    fn places(set: Set) -> Vec<usize> {
        (0..RULES_MAX).filter(|place| set.has(*place)).collect()
    }

    fn named(places: &[usize]) -> Set {
        let mut set = Set::default();
        for place in places {
            set.add(*place);
        }
        set
    }

    #[test]
    fn all_that_hold_are_found_and_stop_ends_the_list() {
        let program = Program::new(vec![
            rule(on("/a/**"), false),
            rule(on("/b/**"), true),
            rule(on("/a/x"), true),
            rule(Condition::default(), false),
        ]);
        let found = |path: &str| places(select(&program, path, &HeaderMap::new()).candidates);
        assert_eq!(found("/a/y"), [0, 3]);
        assert_eq!(found("/a/x"), [0, 2]);
        assert_eq!(found("/b/x"), [1]);
        assert_eq!(found("/c"), [3]);
    }

    #[test]
    fn rules_about_responses_wait_for_one() {
        let program = Program::new(vec![
            rule(on("/a"), false),
            rule(errors(), true),
            rule(Condition::default(), false),
        ]);
        let none = HeaderMap::new();
        let candidates = select(&program, "/a", &none).candidates;
        assert_eq!(places(candidates), [0, 1, 2]);
        assert_eq!(places(program.awaiting_response(candidates)), [1]);
        assert_eq!(places(program.before_response(candidates)), [0, 2]);
        let decided = |status| places(program.with_response(candidates, status, &none));
        assert_eq!(decided(StatusCode::OK), [0, 2]);
        assert_eq!(decided(StatusCode::NOT_FOUND), [0, 1]);
    }

    #[test]
    fn a_rule_that_hangs_on_a_field_is_told_whether_it_holds_or_not() {
        let by_field = Condition {
            headers: vec![(
                HeaderName::from_static("x-a"),
                ValueTest {
                    absent: false,
                    patterns: vec![Pattern::of_value("1").unwrap()],
                },
            )],
            ..on("/a")
        };
        let program = Program::new(vec![rule(by_field, true), rule(on("/**"), false)]);
        let told = |path: &str, headers: &HeaderMap| {
            let selection = select(&program, path, headers);
            (places(selection.candidates), places(selection.by_headers))
        };
        assert_eq!(told("/a", &fields(&[("x-a", "1")])), (vec![0], vec![0]));
        assert_eq!(told("/a", &fields(&[("x-a", "2")])), (vec![1], vec![0]));
        assert_eq!(told("/b", &fields(&[("x-a", "1")])), (vec![1], vec![]));
        assert_eq!(program.fields(named(&[0, 1])), ["x-a"]);
    }

    #[test]
    fn rules_beyond_the_bound_never_hold() {
        let rules = vec![rule(Condition::default(), false); RULES_MAX + 1];
        let program = Program::new(rules);
        let found = select(&program, "/", &HeaderMap::new()).candidates;
        assert_eq!(places(found).len(), RULES_MAX);
        assert_eq!(program.rules(found).count(), RULES_MAX);
    }
}

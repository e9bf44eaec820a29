/// How many pulls of a job run at one time: fewer when the node sheds, more again when it does not.
#[derive(Debug)]
pub(super) struct Pace {
    most: usize,
    allowed: usize,
    /// Pulls that ended well since the last change.
    streak: usize,
}

impl Pace {
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self {
            most,
            allowed: most,
            streak: 0,
        }
    }

    pub(super) fn allowed(&self) -> usize {
        self.allowed
    }

    pub(super) fn went_well(&mut self) {
        self.streak += 1;
        if self.streak >= self.allowed {
            self.allowed = (self.allowed + 1).min(self.most);
            self.streak = 0;
        }
    }

    pub(super) fn was_shed(&mut self) {
        self.allowed = (self.allowed / 2).max(1);
        self.streak = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_halves_when_shed_and_comes_back_one_by_one() {
        let mut pace = Pace::new(8);
        pace.was_shed();
        pace.was_shed();
        assert_eq!(pace.allowed(), 2);
        pace.went_well();
        pace.went_well();
        assert_eq!(pace.allowed(), 3);
        for _ in 0..100 {
            pace.was_shed();
        }
        assert_eq!(pace.allowed(), 1);
        for _ in 0..100 {
            pace.went_well();
        }
        assert_eq!(pace.allowed(), 8);
        assert_eq!(Pace::new(0).allowed(), 1);
    }
}

//! The largest of the values of the last rounds, or other parts of time.

use std::collections::VecDeque;

/// Values in falling order, each with its round; the first is the maximum. It holds at most one value a round.
#[derive(Clone, Debug)]
pub struct Maximum {
    rounds: u64,
    values: VecDeque<(u64, u64)>,
}

impl Maximum {
    pub fn new(rounds: u64) -> Self {
        Self { rounds, values: VecDeque::new() }
    }

    /// Adds a value of `round`, which is not less than any before, and forgets rounds that are too long ago.
    pub fn add(&mut self, round: u64, value: u64) {
        while self.values.back().is_some_and(|&(_, last)| last <= value) {
            self.values.pop_back();
        }
        if self.values.back().is_none_or(|&(last, _)| last != round) {
            self.values.push_back((round, value));
        }
        while self.values.front().is_some_and(|&(first, _)| first + self.rounds <= round) {
            self.values.pop_front();
        }
    }

    pub fn get(&self) -> u64 {
        self.values.front().map_or(0, |&(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maximum_is_the_largest_of_the_last_rounds() {
        let mut maximum = Maximum::new(3);
        assert_eq!(maximum.get(), 0);
        for (round, value, expected) in [(0, 5, 5), (0, 9, 9), (1, 7, 9), (2, 8, 9), (3, 1, 8), (4, 2, 8), (5, 1, 2)] {
            maximum.add(round, value);
            assert_eq!(maximum.get(), expected, "round {round}");
        }
    }

    #[test]
    fn it_holds_one_value_a_round_at_most() {
        let mut maximum = Maximum::new(4);
        for step in 0..1000 {
            maximum.add(step / 100, 1000 - step);
        }
        assert!(maximum.values.len() <= 4, "{}", maximum.values.len());
    }
}

//! The parts of a row.

use std::fmt;

/// How many groups of sealed columns a row may have.
pub const MAX_GROUPS: usize = 8;

/// The columns of a table, divided: part 0 is in clear, parts from 1 are groups, each sealed under a key of
/// its own. `K` names a column key; the table's own key is `None`.
///
/// Never changed once rows were written by it. Columns that come to the table later are in the part that its
/// default names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Division<K> {
    /// The part of each column, by its number less 1.
    of: Vec<u8>,
    /// The part of columns that came later.
    default: u8,
    groups: Vec<Option<K>>,
    /// The columns of each part, ascending: `of` the other way round.
    columns: Vec<Vec<u16>>,
}

/// A table whose columns are to be under more than [`MAX_GROUPS`] keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyGroups;

impl fmt::Display for TooManyGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a table may have columns under at most {MAX_GROUPS} keys")
    }
}

impl<K: PartialEq + Clone> Division<K> {
    /// Divides columns by what each is to be, in the order of their numbers: in clear (`None`) or under a key.
    /// `default`: the same of columns that come later. Returns `None` if there is nothing to divide: every
    /// column is under the table's own key.
    pub fn new(
        default: Option<Option<K>>,
        columns: &[Option<Option<K>>],
    ) -> Result<Option<Self>, TooManyGroups> {
        let all = || columns.iter().chain([&default]);
        if all().all(|column| matches!(column, Some(None))) {
            return Ok(None);
        }
        let mut groups: Vec<Option<K>> = Vec::new();
        // The table's own key is the first group, wherever its columns are.
        for own in [true, false] {
            for key in all().flatten().filter(|key| key.is_none() == own) {
                if !groups.contains(key) {
                    groups.push(key.clone());
                }
            }
        }
        // Something has to verify what is in clear.
        if groups.is_empty() {
            groups.push(None);
        }
        if groups.len() > MAX_GROUPS {
            return Err(TooManyGroups);
        }
        let part = |column: &Option<Option<K>>| match column {
            None => 0,
            Some(key) => groups.iter().position(|group| group == key).map_or(0, |at| at as u8 + 1),
        };
        let of = columns.iter().map(part).collect();
        let default = part(&default);
        Ok(Some(Self::whole(of, default, groups)))
    }
}

impl<K> Division<K> {
    /// A division that was stored; `None` if it names a part that it does not have.
    pub fn from_stored(of: Vec<u8>, default: u8, groups: Vec<Option<K>>) -> Option<Self> {
        let known = |part: &u8| usize::from(*part) <= groups.len();
        let whole = (1..=MAX_GROUPS).contains(&groups.len());
        (whole && known(&default) && of.iter().all(known)).then(|| Self::whole(of, default, groups))
    }

    fn whole(of: Vec<u8>, default: u8, groups: Vec<Option<K>>) -> Self {
        let of_part = |part: usize| {
            let mine = of.iter().zip(0..).filter(|(of, _)| usize::from(**of) == part);
            mine.map(|(_, column)| column).collect()
        };
        let columns = (0..=groups.len()).map(of_part).collect();
        Self { of, default, groups, columns }
    }

    /// What is stored: the part of each column, and that of later ones.
    pub fn to_store(&self) -> (&[u8], u8) {
        (&self.of, self.default)
    }

    /// The keys of the groups, in their order: part 1 and on.
    pub fn groups(&self) -> &[Option<K>] {
        &self.groups
    }

    /// The part of the column at an index from 0, its number less 1.
    #[inline]
    pub fn part_of(&self, index: usize) -> usize {
        self.of.get(index).copied().unwrap_or(self.default).into()
    }

    /// The column key that the column at an index from 0 is under; none of one in clear or under the table's own.
    pub fn key_of(&self, index: usize) -> Option<&K> {
        let group = self.part_of(index).checked_sub(1)?;
        self.groups.get(group)?.as_ref()
    }

    /// The columns of a part among the first `natts`, as indexes from 0.
    #[inline]
    pub fn columns_of(&self, part: usize, natts: usize) -> impl Iterator<Item = usize> + Clone {
        let known = self.columns.get(part).map_or(&[][..], Vec::as_slice).iter();
        let known =
            known.map(|column| usize::from(*column)).take_while(move |index| *index < natts);
        let later = if part == usize::from(self.default) { self.of.len()..natts } else { 0..0 };
        known.chain(later)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Wanted = Option<Option<u8>>;
    const PLAIN: Wanted = None;
    const OWN: Wanted = Some(None);
    const fn under(key: u8) -> Wanted {
        Some(Some(key))
    }

    #[test]
    fn nothing_to_divide() {
        assert_eq!(Division::new(OWN, &[]), Ok(None));
        assert_eq!(Division::new(OWN, &[OWN, OWN]), Ok(None));
    }

    #[test]
    fn parts_and_groups() {
        let division = Division::new(OWN, &[PLAIN, under(7), OWN, under(5), under(7)]);
        let division = division.expect("few").expect("divided");
        assert_eq!(division.groups(), [None, Some(7), Some(5)]);
        assert_eq!(division.to_store(), (&[0, 2, 1, 3, 2][..], 1));
        assert_eq!(division.columns_of(1, 8).collect::<Vec<_>>(), [2, 5, 6, 7]);
        assert_eq!(division.columns_of(0, 8).collect::<Vec<_>>(), [0]);
        assert_eq!(division.columns_of(2, 4).collect::<Vec<_>>(), [1]);
        let keys: Vec<_> = (0..6).map(|index| division.key_of(index)).collect();
        assert_eq!(keys, [None, Some(&7), None, Some(&5), Some(&7), None]);
    }

    #[test]
    fn what_is_in_clear_is_verified_by_something() {
        let division = Division::new(PLAIN, &[PLAIN]).expect("few").expect("divided");
        assert_eq!(division.groups(), [None::<u8>]);
        assert_eq!(division.columns_of(1, 100).count(), 0);
        // One group is enough for that.
        let division = Division::new(PLAIN, &[under(1)]).expect("few").expect("divided");
        assert_eq!(division.groups(), [Some(1)]);
    }

    #[test]
    fn eight_and_no_more() {
        let columns: Vec<_> = (1..=8).map(under).collect();
        assert!(Division::new(PLAIN, &columns).is_ok());
        assert_eq!(Division::new(OWN, &columns), Err(TooManyGroups));
    }

    #[test]
    fn what_is_stored_must_fit() {
        assert!(Division::from_stored(vec![0, 1], 1, vec![None::<u8>]).is_some());
        assert!(Division::from_stored(vec![0, 2], 1, vec![None::<u8>]).is_none());
        assert!(Division::from_stored(vec![], 2, vec![None::<u8>]).is_none());
        assert!(Division::<u8>::from_stored(vec![], 0, vec![]).is_none());
        assert!(Division::from_stored(vec![], 0, vec![None::<u8>; 9]).is_none());
    }

    proptest! {
        #[test]
        fn every_column_is_where_it_is_wanted(
            columns in proptest::collection::vec(prop_oneof![Just(PLAIN), Just(OWN), (0u8..7).prop_map(under)], 0..40),
            default in prop_oneof![Just(PLAIN), Just(OWN)],
        ) {
            let Some(division) = Division::new(default, &columns).expect("at most 8") else {
                prop_assert!(columns.iter().chain([&default]).all(|c| *c == OWN));
                return Ok(());
            };
            let wanted = |index: usize| columns.get(index).copied().unwrap_or(default);
            for index in 0..60 {
                let part = division.part_of(index);
                let got = part.checked_sub(1).map(|group| division.groups()[group]);
                prop_assert_eq!(got, wanted(index));
            }
            for natts in [0, columns.len() / 2, columns.len(), 60] {
                let mut all: Vec<_> = (0..=division.groups().len()).flat_map(|part| division.columns_of(part, natts)).collect();
                all.sort_unstable();
                prop_assert_eq!(all, (0..natts).collect::<Vec<_>>(), "each column once");
            }
            let (of, default) = division.to_store();
            let again = Division::from_stored(of.to_vec(), default, division.groups().to_vec());
            prop_assert_eq!(again, Some(division));
        }
    }
}

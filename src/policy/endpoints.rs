//! The list of a channel's endpoints: which are new, which are gone, and what their numbers are.
//!
//! A list replaces the former one whole. An endpoint is known by the set of its addresses, and one
//! that comes back has the number that it had. Under `pick_first` all addresses are one endpoint,
//! which stays the same whatever its addresses are.

use crate::model::{Address, Endpoint, EndpointId};
use std::collections::BTreeMap;

/// So many endpoints that are gone keep their numbers.
const REMEMBERED: usize = 4_096;

/// The endpoints of one channel.
#[derive(Clone, Debug, Default)]
pub struct EndpointList {
    /// In the order of the last list.
    listed: Vec<(EndpointId, Endpoint)>,
    /// Those that are gone.
    former: BTreeMap<Box<[Address]>, (EndpointId, u64)>,
    /// The former ones, in the order in which they went.
    order: BTreeMap<u64, Box<[Address]>>,
    last: u32,
    /// What its subset is chosen by, once it was asked for.
    seed: Option<u64>,
}

/// What a new list changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListChange {
    /// In the order of the list.
    pub added: Vec<(EndpointId, Endpoint)>,
    /// In the order of the former list.
    pub removed: Vec<(EndpointId, Endpoint)>,
    /// The one endpoint there is has other addresses.
    pub moved: Option<Moved>,
}

/// An endpoint whose addresses changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Which.
    pub id: EndpointId,
    /// What its addresses were.
    pub before: Endpoint,
    /// What they are.
    pub now: Endpoint,
}

impl EndpointList {
    /// Takes a list in the place of the former one. What is listed twice counts once.
    pub fn update(&mut self, list: &[Endpoint]) -> ListChange {
        self.update_by(list, Endpoint::key)
    }

    /// The same where all addresses are one endpoint.
    pub fn update_one(&mut self, list: &[Endpoint]) -> ListChange {
        let all = list.iter().flat_map(|endpoint| endpoint.addresses().iter().cloned());
        let one = Endpoint::of(all);
        let list: &[Endpoint] = if list.is_empty() { &[] } else { &[one] };
        self.update_by(list, |_| Box::default())
    }

    fn update_by(
        &mut self,
        list: &[Endpoint],
        key: impl Fn(&Endpoint) -> Box<[Address]>,
    ) -> ListChange {
        let mut before: BTreeMap<_, _> = std::mem::take(&mut self.listed)
            .into_iter()
            .enumerate()
            .map(|(place, (id, endpoint))| (key(&endpoint), (place, id, endpoint)))
            .collect();
        let (mut change, mut seen) = (ListChange::default(), BTreeMap::new());
        self.listed.reserve_exact(list.len());
        for endpoint in list {
            let key = key(endpoint);
            if seen.insert(key.clone(), ()).is_some() {
                continue;
            }
            let id = match before.remove(&key) {
                Some((_, id, before)) => {
                    if before != *endpoint {
                        change.moved = Some(Moved { id, before, now: endpoint.clone() });
                    }
                    id
                }
                None => {
                    let id = self.number(&key);
                    change.added.push((id, endpoint.clone()));
                    id
                }
            };
            // Its addresses may be in another order now, which the next dial follows.
            self.listed.push((id, endpoint.clone()));
        }
        let mut gone: Vec<_> = before.into_iter().collect();
        gone.sort_by_key(|(_, (place, ..))| *place);
        for (key, (_, id, endpoint)) in gone {
            self.remember(key, id);
            change.removed.push((id, endpoint));
        }
        change
    }

    /// What a subset is chosen by: the same number each time, made at the first.
    pub fn seed(&mut self, make: impl FnOnce() -> u64) -> u64 {
        *self.seed.get_or_insert_with(make)
    }

    /// The endpoints, in the order of the last list.
    pub fn listed(&self) -> &[(EndpointId, Endpoint)] {
        &self.listed
    }

    /// An endpoint of the last list.
    pub fn get(&self, id: EndpointId) -> Option<&Endpoint> {
        self.listed.iter().find(|(one, _)| *one == id).map(|(_, endpoint)| endpoint)
    }

    fn number(&mut self, key: &[Address]) -> EndpointId {
        if let Some((id, went)) = self.former.remove(key) {
            self.order.remove(&went);
            return id;
        }
        self.last += 1;
        EndpointId(self.last)
    }

    fn remember(&mut self, key: Box<[Address]>, id: EndpointId) {
        let went = self.order.last_key_value().map_or(0, |(last, _)| last + 1);
        self.order.insert(went, key.clone());
        self.former.insert(key, (id, went));
        if self.order.len() > REMEMBERED
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.former.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str) -> Endpoint {
        Endpoint::of(name.chars().map(|host| Address::new(host.to_string(), 1)))
    }

    fn list(names: &[&str]) -> Vec<Endpoint> {
        names.iter().map(|name| endpoint(name)).collect()
    }

    fn ids(of: &[(EndpointId, Endpoint)]) -> Vec<u32> {
        of.iter().map(|(id, _)| id.0).collect()
    }

    #[test]
    fn a_list_adds_what_is_new_and_removes_what_it_lacks() {
        let mut endpoints = EndpointList::default();
        let change = endpoints.update(&list(&["a", "b", "a"]));
        assert_eq!((ids(&change.added), ids(&change.removed)), (vec![1, 2], vec![]));
        let change = endpoints.update(&list(&["c", "b"]));
        assert_eq!((ids(&change.added), ids(&change.removed)), (vec![3], vec![1]));
        assert_eq!(ids(endpoints.listed()), [3, 2]);
        assert_eq!(endpoints.update(&list(&["b", "c"])), ListChange::default());
        assert_eq!(endpoints.get(EndpointId(2)), Some(&endpoint("b")));
        assert_eq!(endpoints.get(EndpointId(1)), None);
    }

    #[test]
    fn an_endpoint_that_comes_back_has_its_number_and_is_known_by_its_set_of_addresses() {
        let mut endpoints = EndpointList::default();
        endpoints.update(&list(&["ab", "c"]));
        endpoints.update(&list(&["c"]));
        let change = endpoints.update(&list(&["c", "ba", "d"]));
        assert_eq!(ids(&change.added), [1, 3]);
        // The order in which its addresses are dialled is the last list's.
        assert_eq!(endpoints.get(EndpointId(1)).expect("listed").addresses()[0].host(), "b");
    }

    #[test]
    fn where_all_addresses_are_one_endpoint_it_stays_the_same_and_moves() {
        let mut endpoints = EndpointList::default();
        assert_eq!(ids(&endpoints.update_one(&list(&["a", "b"])).added), [1]);
        assert_eq!(endpoints.update_one(&list(&["b", "a"])), ListChange::default());
        let change = endpoints.update_one(&list(&["b", "c"]));
        assert_eq!((change.moved.map(|moved| moved.id.0), change.added.len()), (Some(1), 0));
        assert_eq!(ids(&endpoints.update_one(&[]).removed), [1]);
        assert_eq!(ids(&endpoints.update_one(&list(&["d"])).added), [1], "it comes back");
    }

    #[test]
    fn what_is_remembered_of_endpoints_that_are_gone_is_bounded() {
        let mut endpoints = EndpointList::default();
        for n in 0..2 * REMEMBERED {
            endpoints.update(&[Address::new(format!("h{n}"), 1).into()]);
        }
        assert_eq!((endpoints.former.len(), endpoints.order.len()), (REMEMBERED, REMEMBERED));
        endpoints.update(&[Address::new(format!("h{}", 2 * REMEMBERED - 2), 1).into()]);
        assert_eq!(endpoints.listed()[0].0, EndpointId(2 * REMEMBERED as u32 - 1));
    }
}

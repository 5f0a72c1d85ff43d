//! Whose rights differ between two states, where the commands in between are not known.

use super::model::{Dynsec, Ranking};
use super::request::Kick;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Dynsec {
    /// Whose connections end because of what has changed since `former`: those of clients that are
    /// not as they were, or have a role or a group that is not. It is whom the commands in between
    /// would have named.
    pub fn concerned_since(&self, former: &Self) -> BTreeSet<Kick> {
        let roles = differing(&former.roles, &self.roles);
        let any = |ranking: &Ranking, of: &BTreeSet<&str>| {
            ranking.iter().any(|ranked| of.contains(&*ranked.name))
        };
        let mut groups = differing(&former.groups, &self.groups);
        let with_role = former.groups.iter().filter(|(_, group)| any(&group.roles, &roles));
        groups.extend(with_role.map(|(name, _)| &**name));
        let mut kicks: BTreeSet<Kick> = former
            .clients
            .iter()
            .filter(|(name, client)| {
                self.clients.get(*name) != Some(*client)
                    || any(&client.roles, &roles)
                    || any(&client.groups, &groups)
            })
            .map(|(name, _)| Kick::User(Arc::clone(name)))
            .collect();
        let anonymous = &former.anonymous_group;
        if self.anonymous_group != *anonymous
            || anonymous.as_ref().is_some_and(|group| groups.contains(&**group))
        {
            kicks.insert(Kick::Anonymous);
        }
        kicks
    }
}

/// The names of what is not as it was.
fn differing<'a, T: PartialEq>(
    former: &'a BTreeMap<Arc<str>, Arc<T>>,
    now: &BTreeMap<Arc<str>, Arc<T>>,
) -> BTreeSet<&'a str> {
    let differs = |(name, it): &(&'a Arc<str>, &Arc<T>)| now.get(*name) != Some(*it);
    former.iter().filter(differs).map(|(name, _)| &**name).collect()
}

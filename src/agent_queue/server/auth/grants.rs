//! Identities and what they may do, as read from a file: who a caller is, and `may`. Pure.
//!
//! There is no rule that forbids: what no grant allows may not be done. An identity without grants
//! may do all but operate on the queue that bears exactly its name.

use super::{Action, TokenHash};
use std::{collections::BTreeMap, sync::Arc};

/// Identities, how each proves that it is who it says, and what it may do.
#[derive(Clone, Debug)]
pub struct Grants {
    pub(super) identities: BTreeMap<Arc<str>, Rules>,
}

/// What is known of one identity.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    /// Two at most: the former token and the next.
    pub(super) tokens: Vec<TokenHash>,
    /// A URI or a DNS name.
    pub(super) certificate: Option<String>,
    /// None: its own queue.
    pub(super) grants: Option<Vec<Grant>>,
}

/// What may be done with all queues of a pattern.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) queues: String,
    pub(super) may: Vec<Action>,
}

/// What a caller shows.
#[derive(Clone, Copy)]
pub(super) struct Credentials<'a> {
    /// Its token's hash.
    pub(super) token: Option<TokenHash>,
    /// The URIs and DNS names of its certificate.
    pub(super) names: &'a [String],
}

/// What an identity was proved by. It is looked for again, so that taking a token away holds at
/// once.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    Token(TokenHash),
    Certificate(String),
}

/// Why it is not known who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdentifyError {
    Nothing,
    Token,
    Certificate,
    /// A certificate with names of several identities.
    Several,
    /// The token's identity and the certificate's are not the same.
    Different,
}

impl Grants {
    /// Whether a bearer token can prove an identity.
    pub fn have_tokens(&self) -> bool {
        self.identities.values().any(|rules| !rules.tokens.is_empty())
    }

    /// Whether a client certificate can prove an identity.
    pub fn have_certificates(&self) -> bool {
        self.identities.values().any(|rules| rules.certificate.is_some())
    }

    /// Who shows this. A token that is not known is not made good by a certificate.
    pub(super) fn identify(
        &self,
        shown: Credentials<'_>,
    ) -> Result<(&Arc<str>, Proof), IdentifyError> {
        let mut named = self.identities.iter().filter_map(|(name, rules)| {
            let certificate = rules.certificate.as_ref()?;
            shown.names.contains(certificate).then_some((name, certificate))
        });
        let certified = match (named.next(), named.next()) {
            (Some(_), Some(_)) => return Err(IdentifyError::Several),
            (certified, _) => certified,
        };
        let Some(token) = shown.token else {
            let unknown = if shown.names.is_empty() {
                IdentifyError::Nothing
            } else {
                IdentifyError::Certificate
            };
            return certified
                .map(|(name, proof)| (name, Proof::Certificate(proof.clone())))
                .ok_or(unknown);
        };
        // All hashes are looked at, whichever it is.
        let found =
            self.identities.iter().fold(None, |found, (name, rules)| match rules.has(&token) {
                true => Some(name),
                false => found,
            });
        let name = found.ok_or(IdentifyError::Token)?;
        match certified {
            Some((other, _)) if other != name => Err(IdentifyError::Different),
            _ => Ok((name, Proof::Token(token))),
        }
    }

    /// Whether the identity still has what it was proved by.
    pub(super) fn know(&self, identity: &str, proof: &Proof) -> bool {
        self.identities.get(identity).is_some_and(|rules| match proof {
            Proof::Token(token) => rules.has(token),
            Proof::Certificate(name) => rules.certificate.as_ref() == Some(name),
        })
    }

    /// Whether the identity may do this with the queue.
    pub(super) fn may(&self, identity: &str, action: Action, queue: &str) -> bool {
        self.identities.get(identity).is_some_and(|rules| match &rules.grants {
            None => action != Action::Operate && queue == identity,
            Some(grants) => grants
                .iter()
                .any(|grant| grant.may.contains(&action) && matches(&grant.queues, queue)),
        })
    }
}

impl Rules {
    fn has(&self, token: &TokenHash) -> bool {
        self.tokens.iter().fold(false, |found, own| found | own.is(token))
    }
}

/// Whether a pattern means this name: `*` stands for any text, also for none, and all else for
/// itself.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut left) = name.strip_prefix(first) else { return false };
    for part in middle.split('*') {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_queue::server::auth::Token;

    fn hash(number: u8) -> TokenHash {
        Token::new([number; 32]).hash()
    }

    fn grants() -> Grants {
        let rules =
            |tokens: &[u8], certificate: &str, grants: Option<&[(&str, &[Action])]>| Rules {
                tokens: tokens.iter().copied().map(hash).collect(),
                certificate: (!certificate.is_empty()).then(|| certificate.into()),
                grants: grants.map(|grants| {
                    grants
                        .iter()
                        .map(|(queues, may)| Grant { queues: (*queues).into(), may: may.to_vec() })
                        .collect()
                }),
            };
        let front: &[(&str, &[Action])] =
            &[("agent_*", &[Action::Submit]), ("other", &[Action::Look])];
        let identities = [
            ("agent_001", rules(&[1, 2], "", None)),
            ("agent_002", rules(&[3], "spiffe://prod/agent/002", None)),
            ("front", rules(&[], "front.internal", Some(front))),
        ];
        Grants {
            identities: identities.into_iter().map(|(name, rules)| (name.into(), rules)).collect(),
        }
    }

    fn who(token: Option<u8>, names: &[&str]) -> Result<String, IdentifyError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        grants()
            .identify(Credentials { token: token.map(hash), names: &names })
            .map(|(name, _)| name.to_string())
    }

    #[test]
    fn an_identity_is_known_by_either_of_its_tokens_or_by_a_name_of_its_certificate() {
        let known = |name: &str| Ok(name.to_owned());
        assert_eq!(who(Some(1), &[]), known("agent_001"));
        assert_eq!(who(Some(2), &[]), known("agent_001"));
        assert_eq!(who(None, &["host", "front.internal"]), known("front"));
        assert_eq!(who(Some(3), &["spiffe://prod/agent/002"]), known("agent_002"));
        assert_eq!(
            who(Some(3), &["somebody"]),
            known("agent_002"),
            "a certificate that names nobody says nothing"
        );
    }

    #[test]
    fn a_wrong_token_is_not_made_good_by_a_certificate() {
        for (token, names, unknown) in [
            (Some(9), &["front.internal"][..], IdentifyError::Token),
            (Some(1), &["front.internal"], IdentifyError::Different),
            (None, &["front.internal", "spiffe://prod/agent/002"], IdentifyError::Several),
            (None, &["Front.internal"], IdentifyError::Certificate),
            (None, &["front.internal.evil"], IdentifyError::Certificate),
            (None, &[], IdentifyError::Nothing),
        ] {
            assert_eq!(who(token, names), Err(unknown), "{token:?} {names:?}");
        }
    }

    #[test]
    fn without_grants_an_identity_may_do_all_but_operate_on_the_queue_of_its_name() {
        for &action in Action::ALL {
            let own = grants().may("agent_001", action, "agent_001");
            assert_eq!(own, action != Action::Operate, "{action:?}");
            for queue in ["agent_002", "agent_0011", "Agent_001", "", "*"] {
                assert!(!grants().may("agent_001", action, queue), "{action:?} {queue}");
            }
        }
    }

    #[test]
    fn with_grants_an_identity_may_do_what_they_name_and_nothing_else() {
        let may = |action, queue| grants().may("front", action, queue);
        assert!(may(Action::Submit, "agent_7") && may(Action::Look, "other"));
        assert!(
            !may(Action::Look, "agent_7")
                && !may(Action::Submit, "other")
                && !may(Action::Work, "front")
        );
    }

    #[test]
    fn who_has_lost_its_proof_is_not_known_any_more() {
        assert!(grants().know("agent_001", &Proof::Token(hash(2))));
        for (identity, proof) in [
            ("agent_001", Proof::Token(hash(3))),
            ("agent_002", Proof::Certificate("spiffe://prod/agent/003".into())),
            ("gone", Proof::Token(hash(1))),
        ] {
            assert!(!grants().know(identity, &proof), "{identity} {proof:?}");
        }
        assert!(!grants().may("gone", Action::Look, "gone"));
    }

    #[test]
    fn a_star_stands_for_any_text_and_all_else_for_itself() {
        for (pattern, name, meant) in [
            ("*", "", true),
            ("*", "anything", true),
            ("agent_*", "agent_", true),
            ("agent_*", "agent", false),
            ("agent_*", "my agent_1", false),
            ("*_eu", "agent_eu", true),
            ("*_eu", "agent_eu_1", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "acb", false),
            ("a*bc*c", "abc", false),
            ("a**c", "ac", true),
            ("agent_?", "agent_1", false),
            ("agent", "agent", true),
            ("agent", "agents", false),
            ("*é*", "née", true),
        ] {
            assert_eq!(matches(pattern, name), meant, "{pattern} {name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_pattern_made_from_a_name_means_that_name(
            name in "[a*b]{0,12}",
            cuts in proptest::collection::vec(0..13usize, 0..4),
        ) {
            let mut pattern: Vec<char> = name.chars().collect();
            cuts.iter().for_each(|cut| pattern.insert((*cut).min(pattern.len()), '*'));
            proptest::prop_assert!(matches(&pattern.iter().collect::<String>(), &name));
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Hash, Invalid, Member, MemberSet, Signature, Why} from "./Types.sol";

/// Groups of weighted members. Only the digest of the current member set is stored: whoever acts for a group brings
/// the set, so every consent names exactly the members it counts, and a removed member's weight is nowhere.
abstract contract Groups is EIP712 {
    uint8 internal constant APPROVE = 1;
    uint8 internal constant STOP = 2;
    uint8 private constant ROLES = 7; // approve, stop, read

    /// The digest of each group's current member set.
    mapping(bytes32 group => bytes32 set) public sets;

    event GroupSet(bytes32 indexed group, bytes32 indexed digest, MemberSet set, Signature[] signatures);
    event Posted(bytes32 indexed group, bytes32 indexed digest, bytes32 set, uint8 member, bytes signature, bytes data);

    error StaleEpoch();
    error Expired();
    error NotAMember(uint8 member);
    error BadSignature(uint8 member);
    error NotEnoughWeight(uint256 weight, uint256 needed);

    /// Founds a group; needs no approval, for its id is the digest of its founding set.
    function createGroup(MemberSet calldata s) external returns (bytes32 group) {
        group = _hashTypedDataV4(Hash.memberSet(s));
        if (s.group != 0 || s.epoch != 1) revert Invalid(Why.FoundingSet);
        if (sets[group] != 0) revert Invalid(Why.GroupExists);
        _validate(s);
        sets[group] = group;
        emit GroupSet(group, group, s, new Signature[](0));
    }

    /// The next epoch: new members and thresholds, by the membership threshold of the current ones (I8).
    function changeGroup(MemberSet calldata next, MemberSet calldata current, Signature[] calldata signatures) external {
        (bytes32 group, bytes32 digest) = _current(current);
        if (next.group != group || next.epoch != current.epoch + 1 || next.previous != digest) revert StaleEpoch();
        if (block.timestamp > next.deadline) revert Expired();
        _validate(next);
        bytes32 newDigest = _hashTypedDataV4(Hash.memberSet(next));
        _enough(_consent(current, newDigest, signatures), current.thresholds.membership);
        sets[group] = newDigest;
        emit GroupSet(group, newDigest, next, signatures);
    }

    /// The notice board: a current member's signature over a digest, with what it is the digest of. Changes no state.
    function post(MemberSet calldata s, bytes32 digest, Signature calldata signature, bytes calldata data) external {
        (bytes32 group, bytes32 set) = _current(s);
        _verify(s, APPROVE, digest, signature);
        emit Posted(group, digest, set, signature.member, signature.signature, data);
    }

    /// The group whose current set this is; anything else is a stale epoch.
    function _current(MemberSet calldata s) internal view returns (bytes32 group, bytes32 digest) {
        digest = _hashTypedDataV4(Hash.memberSet(s));
        group = s.group == 0 ? digest : s.group;
        if (sets[group] != digest) revert StaleEpoch();
    }

    /// I3: the weight of members in ascending order, so none counts twice, each with the right to approve.
    function _consent(MemberSet calldata s, bytes32 digest, Signature[] calldata signatures)
        internal
        view
        returns (uint256 weight)
    {
        for (uint256 i = 0; i < signatures.length; i++) {
            if (i > 0 && signatures[i].member <= signatures[i - 1].member) revert BadSignature(signatures[i].member);
            weight += _verify(s, APPROVE, digest, signatures[i]);
        }
    }

    function _enough(uint256 weight, uint256 needed) internal pure {
        if (weight < needed) revert NotEnoughWeight(weight, needed);
    }

    function _verify(MemberSet calldata s, uint8 role, bytes32 digest, Signature calldata signature)
        internal
        view
        returns (uint256 weight)
    {
        if (signature.member >= s.members.length) revert NotAMember(signature.member);
        Member calldata m = s.members[signature.member];
        if (m.roles & role == 0) revert NotAMember(signature.member);
        // a key first: no look at its account, and what counts offline counts here, whatever code the account has
        if (m.signer.length == 20) {
            (address by,,) = ECDSA.tryRecover(digest, signature.signature);
            if (by != address(0) && by == address(bytes20(m.signer))) return m.weight;
        }
        if (!SignatureChecker.isValidSignatureNow(m.signer, digest, signature.signature)) {
            revert BadSignature(signature.member);
        }
        return m.weight;
    }

    function _validate(MemberSet calldata s) private pure {
        uint256 total = 0;
        bytes32 last = 0;
        if (s.members.length == 0 || s.members.length > 56) revert Invalid(Why.MemberCount);
        for (uint256 i = 0; i < s.members.length; i++) {
            Member calldata m = s.members[i];
            bytes32 id = keccak256(m.signer);
            if (id <= last) revert Invalid(Why.MemberOrder);
            if (m.signer.length < 20 || m.signer.length > 1024) revert Invalid(Why.SignerLength);
            if (m.roles == 0 || m.roles > ROLES) revert Invalid(Why.Roles);
            if (m.roles & APPROVE != 0) {
                if (m.weight == 0) revert Invalid(Why.NoWeight);
                total += m.weight;
            }
            last = id;
        }
        _reachable(s.thresholds.deploy, total);
        _reachable(s.thresholds.control, total);
        _reachable(s.thresholds.wipe, total);
        _reachable(s.thresholds.membership, total);
    }

    function _reachable(uint256 threshold, uint256 total) private pure {
        if (threshold == 0 || threshold > total) revert Invalid(Why.Threshold);
    }
}

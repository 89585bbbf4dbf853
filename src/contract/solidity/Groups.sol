// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Hash, Invalid, Member, MemberSet, Thresholds, Why} from "./Types.sol";

/// Groups of weighted members. A seat holds what one member's signature is held against; those of the set before are
/// overwritten or deleted, so that what a removed member weighed is nowhere.
abstract contract Groups is EIP712 {
    uint8 internal constant APPROVE = 1;
    uint8 internal constant STOP = 2;
    uint8 private constant LONG = 8; // above the roles (4: read): a seat's signer is longer than an address

    /// What one signature has to be held against, in one word.
    struct Seat {
        address signer; // of a longer signer the hash, by which `signers` has it
        uint32 weight;
        uint8 roles;
        uint32 epoch;
        uint24 freezeSeconds;
    }

    /// The digest of each group's current member set.
    mapping(bytes32 id => bytes32 set) public groups;
    mapping(bytes32 id => Thresholds) internal thresholds;
    mapping(bytes32 group => mapping(uint256 member => Seat)) private seats;
    mapping(address hash => bytes) private signers;

    event GroupSet(bytes32 indexed group, MemberSet set, uint256 by, bytes[] signatures);
    event Posted(bytes32 indexed group, bytes32 indexed digest, uint32 epoch, uint8 member, bytes signature, bytes data);

    error NotAMember(uint8 member);
    error BadSignature(uint8 member);
    error NotEnoughWeight(uint256 weight, uint256 needed);

    /// Founds a group, which needs no approval, for its id is the digest of its founding set; or gives a group its next
    /// members and thresholds, by the membership threshold of the current ones, which is 0 where there are none.
    function setGroup(MemberSet calldata s, uint256 by, bytes[] calldata signatures) external {
        bytes32 digest = _hashTypedDataV4(Hash.memberSet(s));
        bytes32 id = s.group == 0 ? digest : s.group;
        if (s.group == 0 ? s.epoch != 1 || groups[id] != 0 : s.epoch < 2) revert Invalid(Why.Founding);
        if (s.group != 0) _current(id, s.previous, s.deadline);
        uint256 weight = _consent(id, s.epoch - 1, digest, by, signatures);
        uint256 needed = thresholds[id].membership;
        _seat(id, s);
        if (weight < needed) revert NotEnoughWeight(weight, needed);
        groups[id] = digest;
        thresholds[id] = s.thresholds;
        emit GroupSet(id, s, by, signatures);
    }

    /// The notice board: a current member's signature over a digest, with what it is the digest of. Changes no state.
    function post(bytes32 group, uint32 epoch, bytes32 digest, uint8 member, bytes calldata signature, bytes calldata data)
        external
    {
        _verify(group, APPROVE, epoch, digest, member, signature);
        emit Posted(group, digest, epoch, member, signature, data);
    }

    /// Only a group's current set counts, and only in time.
    function _current(bytes32 group, bytes32 set, uint256 deadline) internal view {
        if (set == 0 || groups[group] != set) revert Invalid(Why.StaleEpoch);
        if (block.timestamp > deadline) revert Invalid(Why.Expired);
    }

    /// I3: the weight of the members BY, each with the right to approve: a bit for each place, so that none counts twice.
    /// Signatures are in the order of places.
    function _consent(bytes32 group, uint32 epoch, bytes32 digest, uint256 by, bytes[] calldata signatures)
        internal
        view
        returns (uint256 weight)
    {
        uint256 n = 0;
        for (uint256 member = 0; by >> member != 0; member++) {
            if (by >> member & 1 == 0) continue;
            if (n == signatures.length) revert BadSignature(uint8(member));
            weight += _verify(group, APPROVE, epoch, digest, uint8(member), signatures[n++]).weight;
        }
        if (n != signatures.length) revert BadSignature(uint8(n));
    }

    /// The seat of a MEMBER of that epoch who has that right and signed that digest.
    function _verify(bytes32 group, uint8 role, uint32 epoch, bytes32 digest, uint8 member, bytes calldata signature)
        internal
        view
        returns (Seat memory seat)
    {
        seat = seats[group][member];
        if (seat.epoch != epoch) revert Invalid(Why.StaleEpoch);
        if (seat.roles & role == 0) revert NotAMember(member);
        // what no approval log can hold would leave a deployment that nobody can read
        if (signature.length < 64 || signature.length > 2048) revert BadSignature(member);
        // a key first: no look at its account, and what counts offline counts here, whatever code the account has
        (address key,,) = ECDSA.tryRecover(digest, signature);
        if (key != address(0) && key == seat.signer && seat.roles & LONG == 0) return seat;
        bytes memory signer = seat.roles & LONG == 0 ? abi.encodePacked(seat.signer) : signers[seat.signer];
        if (!SignatureChecker.isValidSignatureNow(signer, digest, signature)) revert BadSignature(member);
    }

    /// Gives each member its seat. I8: every threshold can be reached.
    function _seat(bytes32 group, MemberSet calldata s) private {
        uint256 total = 0;
        bytes32 last = 0;
        if (s.members.length == 0 || s.members.length > 56) revert Invalid(Why.MemberCount);
        for (uint256 i = 0; i < s.members.length; i++) {
            Member calldata m = s.members[i];
            bytes32 id = keccak256(m.signer);
            if (id <= last) revert Invalid(Why.MemberOrder);
            if (m.signer.length < 20 || m.signer.length > 1024) revert Invalid(Why.SignerLength);
            if (m.roles == 0 || m.roles >= LONG) revert Invalid(Why.Roles);
            if (m.roles & APPROVE != 0 && m.weight == 0) revert Invalid(Why.NoWeight);
            if (m.roles & APPROVE != 0) total += m.weight;
            bool isLong = m.signer.length > 20;
            address signer = address(isLong ? bytes20(id) : bytes20(m.signer));
            if (isLong) signers[signer] = m.signer;
            seats[group][i] = Seat(signer, m.weight, isLong ? m.roles | LONG : m.roles, s.epoch, s.freezeSeconds);
            last = id;
        }
        for (uint256 i = s.members.length; seats[group][i].roles != 0; i++) delete seats[group][i];
        Thresholds calldata t = s.thresholds;
        uint32[4] memory all = [t.deploy, t.control, t.wipe, t.membership];
        for (uint256 i = 0; i < 4; i++) {
            if (all[i] == 0 || all[i] > total) revert Invalid(Why.Threshold);
        }
    }
}

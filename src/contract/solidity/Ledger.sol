// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ERC7913P256Verifier} from "@openzeppelin/contracts/utils/cryptography/verifiers/ERC7913P256Verifier.sol";
import {ERC7913WebAuthnVerifier} from "@openzeppelin/contracts/utils/cryptography/verifiers/ERC7913WebAuthnVerifier.sol";
import {Groups} from "./Groups.sol";
import {Names} from "./Names.sol";
import {Nodes} from "./Nodes.sol";
import {Ack, Freeze, Hash, Invalid, MemberSet, Pack, Rules, Signature, Slot, Transition, Why} from "./Types.sol";

/// Deployments and their slots. Orders what groups agreed on and books capacity for it; nodes verify the consent again
/// themselves. Immutable; nobody, the deployer included, has a right no group gave (I10).
contract Ledger is Groups, Nodes, Names {
    uint8 private constant ACTIVE = 1;
    uint8 private constant CANCELLED = 2;
    uint8 private constant WIPED = 3;
    uint8 private constant EXPIRED = 4;

    // phases of a slot
    uint8 private constant RESERVED = 1;
    uint8 private constant RUNNING = 2;
    uint8 private constant STOPPED = 4; // FAILED is 3
    uint8 private constant RELEASED = 5;

    uint8 private constant STANDBY = 2;
    uint8 private constant DRAINING = 1; // flags of a slot
    uint8 private constant NOTICED = 2;

    bytes32 private constant DEPLOY = keccak256("deploy");
    bytes32 private constant UPDATE = keccak256("update");
    bytes32 private constant UNDO = keccak256("undo");
    bytes32 private constant MIGRATE = keccak256("migrate");
    bytes32 private constant THAW = keccak256("thaw");
    bytes32 private constant FREEZE = keccak256("freeze");
    bytes32 private constant CANCEL = keccak256("cancel");
    bytes32 private constant WIPE = keccak256("wipe");

    /// How long before its end an operator must announce that a slot will be reclaimed (I9).
    uint40 public constant NOTICE = 7 days;

    struct Deployment {
        uint32 sequence;
        uint32 version;
        uint40 expiry;
        uint40 frozenUntil;
        uint8 state;
        uint8 slots;
        uint8 standbys;
        uint32 frozeEpoch;
        uint56 froze; // which members froze in that epoch, a bit for each place in the set
        bytes32 head;
        bytes32 specRoot;
    }

    struct Placement {
        uint200 booked;
        uint24 node;
        uint8 mode;
        uint8 phase;
        uint8 flags;
    }

    struct Leaving {
        uint200 booked;
        uint24 node;
        uint32 until;
    }

    mapping(bytes32 id => Deployment) public deployments;
    /// Keys: the slot's index, plus 128 for its standby.
    mapping(bytes32 id => mapping(uint32 key => Placement)) public slots;
    mapping(bytes32 id => mapping(uint32 key => Leaving)) public leaving;
    mapping(bytes32 id => mapping(uint32 key => uint40 time)) private notices;

    event Approved(
        bytes32 indexed id, bytes32 indexed group, bytes32 indexed digest, Transition transition, Signature[] signatures
    );
    event Placed(bytes32 indexed id, uint24 indexed node, uint32 key, uint32 sequence);
    event Draining(bytes32 indexed id, uint24 indexed node, uint32 key, uint32 until);
    event Released(bytes32 indexed id, uint24 indexed node, uint32 key);
    event Frozen(bytes32 indexed id, bytes32 indexed group, Freeze freeze, Signature signature);
    event Ended(bytes32 indexed id, uint8 state);
    event Noticed(bytes32 indexed id, uint24 indexed node, uint32 key, uint40 time);
    event Acked(
        bytes32 indexed id, uint24 indexed node, uint32 key, uint32 sequence, uint8 phase, uint64 time, bytes report
    );

    error WrongState(uint8 state);
    error NotTheSuccessor(uint32 sequence, bytes32 head);
    error NotAllowedThere(uint24 node);
    error NodeTakesNoSlots(uint24 node);
    error StillDraining(uint32 key);
    error AlreadyFroze(uint8 member);
    error TooEarly(uint256 time);

    /// Brings the verifiers of passkeys with it: their addresses follow from this one's, so that whoever knows the
    /// contract knows offline which members are P-256 keys (nonce 1) and which are WebAuthn passkeys (nonce 2).
    constructor() EIP712("ZOS", "1") {
        new ERC7913P256Verifier();
        new ERC7913WebAuthnVerifier();
    }

    /// Names are unique within a group, so a deployment's id needs no counter.
    function deploymentId(bytes32 group, string calldata name) public pure returns (bytes32) {
        return keccak256(abi.encode(group, keccak256(bytes(name))));
    }

    /// Takes one agreed step: I3 (consent), I4 and I7 (the one successor of the head), I1 and I2 (capacity).
    function approve(Transition calldata t, MemberSet calldata s, Signature[] calldata signatures) external {
        bytes32 digest = _hashTypedDataV4(Hash.transition(t));
        bytes32 id = deploymentId(t.group, t.name);
        {
            (bytes32 group, bytes32 set) = _current(s);
            if (t.group != group || t.set != set || t.epoch != s.epoch) revert StaleEpoch();
            if (block.timestamp > t.deadline) revert Expired();
        }
        bytes32 kind = keccak256(bytes(t.kind));
        uint256 weight = _consent(s, digest, signatures);
        Deployment storage d = deployments[id];
        if (t.sequence != d.sequence + 1 || t.previous != d.head) revert NotTheSuccessor(d.sequence, d.head);
        bool grows = kind == DEPLOY || kind == UPDATE || kind == UNDO;
        if (t.version != d.version + (grows ? 1 : 0)) revert Invalid(Why.Version);
        if (kind == DEPLOY ? d.state == ACTIVE : d.state != ACTIVE && (kind != WIPE || d.state == 0)) {
            revert WrongState(d.state);
        }
        if (grows || kind == MIGRATE) {
            if (kind == MIGRATE && t.specRoot != d.specRoot) revert Invalid(Why.KeepsSpec);
            if (t.sequence == 1) _checkLabel(t.name);
            (d.slots, d.standbys) = _place(id, t);
            _claim(id, t.names);
            d.expiry = t.expiry;
            d.specRoot = t.specRoot;
            d.state = ACTIVE;
            if (kind == DEPLOY) d.frozenUntil = 0;
        } else {
            if (t.slots.length + t.names.length > 0 || t.specRoot != 0) revert Invalid(Why.CarriesSpec);
            if (kind == THAW) d.frozenUntil = 0;
            else if (kind == FREEZE) d.frozenUntil = type(uint40).max;
            else _end(id, kind == CANCEL ? CANCELLED : WIPED);
        }
        d.sequence = t.sequence;
        d.version = t.version;
        d.head = digest;
        // last, so that a call with too few signatures tells whether anything else stands in the way
        _enough(weight, _threshold(kind, s));
        emit Approved(id, t.group, digest, t, signatures);
    }

    /// Any one member with the right to stop, once per epoch and deployment. I5: frees neither capacity nor data.
    function freeze(Freeze calldata f, MemberSet calldata s, Signature calldata signature) external {
        (bytes32 group, bytes32 set) = _current(s);
        if (f.group != group || f.set != set) revert StaleEpoch();
        bytes32 id = deploymentId(f.group, f.name);
        Deployment storage d = deployments[id];
        if (d.state != ACTIVE) revert WrongState(d.state);
        if (f.previous != d.head) revert NotTheSuccessor(d.sequence, d.head);
        if (f.until <= block.timestamp || f.until > block.timestamp + s.freezeSeconds) revert TooEarly(f.until);
        _verify(s, STOP, _hashTypedDataV4(Hash.freeze(f)), signature);
        uint56 bit = uint56(1) << signature.member;
        uint56 froze = d.frozeEpoch == s.epoch ? d.froze : 0;
        if (froze & bit != 0) revert AlreadyFroze(signature.member);
        d.froze = froze | bit;
        d.frozeEpoch = s.epoch;
        if (f.until > d.frozenUntil) d.frozenUntil = uint40(f.until);
        emit Frozen(id, group, f, signature);
    }

    /// A node's report. The new node running, or the old one stopped, ends a migration.
    function ack(Ack calldata a, bytes calldata signature) external {
        if (a.report.length > 256) revert Invalid(Why.ReportLength);
        _signed(nodes[a.node].key, _hashTypedDataV4(Hash.ack(a)), signature);
        Placement storage p = slots[a.deployment][a.slot];
        if (a.sequence != deployments[a.deployment].sequence) revert Invalid(Why.Sequence);
        if (p.node == a.node && p.phase != RELEASED) {
            if (a.phase < RUNNING || a.phase > STOPPED) revert Invalid(Why.Phase);
            p.phase = a.phase;
            if (a.phase == RUNNING && p.flags & DRAINING != 0) _leave(a.deployment, a.slot);
        } else if (leaving[a.deployment][a.slot].node == a.node && a.phase == STOPPED) {
            _leave(a.deployment, a.slot);
        } else {
            revert NotTheOwner();
        }
        emit Acked(a.deployment, a.node, a.slot, a.sequence, a.phase, a.time, a.report);
    }

    /// Anyone may free what a migration left behind once its time is over.
    function drained(bytes32 id, uint32 key) external {
        Leaving storage l = leaving[id][key];
        if (l.node == 0 || block.timestamp <= l.until) revert TooEarly(l.until);
        _leave(id, key);
    }

    /// Anyone may end a deployment that outlived its expiry.
    function expire(bytes32 id) external {
        Deployment storage d = deployments[id];
        if (d.state != ACTIVE) revert WrongState(d.state);
        if (d.expiry == 0 || block.timestamp <= d.expiry) revert TooEarly(d.expiry);
        _end(id, EXPIRED);
    }

    /// The operator announces that it wants a slot back.
    function notice(bytes32 id, uint32 key) external {
        Placement storage p = slots[id][key];
        if (msg.sender != farms[nodes[p.node].farm]) revert NotTheOwner();
        if (p.flags & NOTICED != 0 || p.phase == RELEASED) revert Invalid(Why.Noticed);
        p.flags |= NOTICED;
        notices[id][key] = uint40(block.timestamp) + NOTICE;
        emit Noticed(id, p.node, key, notices[id][key]);
    }

    /// I9: the operator takes it back once the notice is over.
    function reclaim(bytes32 id, uint32 key) external {
        Placement storage p = slots[id][key];
        if (msg.sender != farms[nodes[p.node].farm]) revert NotTheOwner();
        if (p.flags & NOTICED == 0 || p.phase == RELEASED || block.timestamp < notices[id][key]) {
            revert TooEarly(notices[id][key]);
        }
        _free(p.node, p.booked);
        delete p.booked;
        p.phase = RELEASED; // the node's name stays: it is the proof of release
        emit Released(id, p.node, key);
    }

    function _active(bytes32 id) internal view override returns (bool) {
        return deployments[id].state == ACTIVE;
    }

    function _threshold(bytes32 kind, MemberSet calldata s) private pure returns (uint256) {
        if (kind == DEPLOY || kind == UPDATE || kind == UNDO || kind == MIGRATE) return s.thresholds.deploy;
        if (kind == THAW || kind == FREEZE || kind == CANCEL) return s.thresholds.control;
        if (kind == WIPE) return s.thresholds.wipe;
        revert Invalid(Why.Kind);
    }

    /// The keys a deployment's slots may have.
    function _keys(bytes32 id) private view returns (uint32[] memory keys) {
        uint256 first = deployments[id].slots;
        keys = new uint32[](first + deployments[id].standbys);
        for (uint256 i = 0; i < keys.length; i++) keys[i] = uint32(i < first ? i : i - first + 128);
    }

    /// Frees the old placements, books the new: all of it or nothing, in one transaction.
    function _place(bytes32 id, Transition calldata t) private returns (uint8 primaries, uint8 standbys) {
        if (t.slots.length == 0 || t.slots.length > 128) revert Invalid(Why.SlotCount);
        if (t.expiry != 0 && t.expiry <= block.timestamp) revert Expired();
        uint32[] memory old = _keys(id);
        for (uint256 i = 0; i < old.length; i++) {
            Placement memory p = slots[id][old[i]];
            if (p.node != 0 && p.phase != RELEASED) _free(p.node, p.booked);
        }
        uint256 o = 0;
        uint256 last = 0;
        for (uint256 i = 0; i < t.slots.length; i++) {
            Slot calldata s = t.slots[i];
            if (s.index > 127 || s.mode > STANDBY) revert Invalid(Why.SlotForm);
            uint32 key = s.mode == STANDBY ? s.index + 128 : s.index;
            if (i > 0 && key <= last) revert Invalid(Why.SlotOrder);
            last = key;
            for (; o < old.length && old[o] < key; o++) _drop(id, old[o]);
            if (o < old.length && old[o] == key) o++;
            _put(id, key, s, t);
            if (s.mode == STANDBY) standbys = uint8(s.index + 1);
            else primaries = uint8(s.index + 1);
        }
        for (; o < old.length; o++) _drop(id, old[o]);
        if (t.rules.farms > 1) _spread(t);
    }

    function _put(bytes32 id, uint32 key, Slot calldata s, Transition calldata t) private {
        Placement memory p = slots[id][key];
        if (p.node != s.node || p.phase == RELEASED) {
            if (nodes[s.node].state != UP) revert NodeTakesNoSlots(s.node);
            if (p.flags & NOTICED != 0) delete notices[id][key];
            p.flags &= DRAINING;
            if (p.node != 0 && p.phase != RELEASED) {
                if (t.drain > 0) {
                    if (p.flags & DRAINING != 0) revert StillDraining(key);
                    _reserve(p.node, p.booked); // counted until the new node runs or the time is over
                    uint32 until = uint32(block.timestamp + t.drain);
                    leaving[id][key] = Leaving(p.booked, p.node, until);
                    p.flags |= DRAINING;
                    emit Draining(id, p.node, key, until);
                } else {
                    emit Released(id, p.node, key);
                }
            }
        }
        _permitted(t.rules, s.node);
        uint200 booked = Pack.pack(s.resources);
        _reserve(s.node, booked);
        slots[id][key] = Placement(booked, s.node, s.mode, RESERVED, p.flags);
        emit Placed(id, s.node, key, t.sequence);
    }

    /// Forgets a slot whose booking is already freed.
    function _drop(bytes32 id, uint32 key) private {
        Placement memory p = slots[id][key];
        if (p.node == 0) return;
        if (p.flags & DRAINING != 0) _leave(id, key);
        if (p.flags & NOTICED != 0) delete notices[id][key];
        delete slots[id][key];
        if (p.phase != RELEASED) emit Released(id, p.node, key);
    }

    function _leave(bytes32 id, uint32 key) private {
        Leaving memory l = leaving[id][key];
        _free(l.node, l.booked);
        delete leaving[id][key];
        slots[id][key].flags &= ~DRAINING;
        emit Released(id, l.node, key);
    }

    /// I6: frees every slot, once.
    function _end(bytes32 id, uint8 state) private {
        uint32[] memory keys = _keys(id);
        for (uint256 i = 0; i < keys.length; i++) {
            Placement memory p = slots[id][keys[i]];
            if (p.node != 0 && p.phase != RELEASED) _free(p.node, p.booked);
            _drop(id, keys[i]);
        }
        Deployment storage d = deployments[id];
        (d.slots, d.standbys, d.state) = (0, 0, state);
        emit Ended(id, state);
    }

    function _permitted(Rules calldata r, uint24 node) private view {
        bytes2 country = nodes[node].country;
        bool ok = r.allow.length == 0;
        for (uint256 i = 0; i < r.allow.length; i++) ok = ok || r.allow[i] == country;
        for (uint256 i = 0; i < r.deny.length; i++) ok = ok && r.deny[i] != country;
        if (!ok) revert NotAllowedThere(node);
    }

    /// Counts the distinct farms among the slots that are no standbys.
    function _spread(Transition calldata t) private view {
        uint32[] memory seen = new uint32[](t.slots.length);
        uint256 n = 0;
        for (uint256 i = 0; i < seen.length; i++) {
            if (t.slots[i].mode == STANDBY) continue;
            uint32 farm = nodes[t.slots[i].node].farm;
            uint256 j = 0;
            while (j < n && seen[j] != farm) j++;
            if (j == n) seen[n++] = farm;
        }
        if (n < t.rules.farms) revert Invalid(Why.Farms);
    }
}

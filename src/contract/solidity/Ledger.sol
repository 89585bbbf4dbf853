// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ERC7913P256Verifier} from "@openzeppelin/contracts/utils/cryptography/verifiers/ERC7913P256Verifier.sol";
import {ERC7913WebAuthnVerifier} from "@openzeppelin/contracts/utils/cryptography/verifiers/ERC7913WebAuthnVerifier.sol";
import {Groups} from "./Groups.sol";
import {Names} from "./Names.sol";
import {Nodes} from "./Nodes.sol";
import {Ack, Hash, Invalid, Pack, Rules, Slot, Thresholds, Transition, Why} from "./Types.sol";

/// Deployments and their slots. Orders what groups agreed on and books capacity for it; nodes verify the consent again
/// themselves. Immutable; nobody, the deployer included, has a right no group gave (I10).
contract Ledger is Groups, Nodes, Names {
    enum State { None, Active, Cancelled, Wiped, Expired }
    enum Phase { None, Reserved, Running, Failed, Stopped, Released }

    uint8 private constant STANDBY = 2; // mode of a slot; keep is 0, fenced 1

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

    /// All but head and specRoot in one word; a thaw and a freeze touch little else.
    struct Deployment {
        uint32 sequence;
        uint32 version;
        uint40 expiry;
        uint40 frozenUntil;
        State state;
        uint8 slots;
        uint8 standbys;
        uint88 froze; // an epoch, and which members froze in it: a bit for each place in the set
        bytes32 head;
        bytes32 specRoot;
    }

    struct Placement {
        uint200 booked;
        uint24 node;
        uint8 mode;
        Phase phase;
    }

    /// What a migration left behind, booked until the new node runs or the time is over.
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
        bytes32 indexed id,
        bytes32 indexed group,
        bytes32 indexed digest,
        Transition transition,
        uint256 by,
        bytes[] signatures
    );
    event Placed(bytes32 indexed id, uint24 indexed node, uint32 key, uint32 sequence);
    event Draining(bytes32 indexed id, uint24 indexed node, uint32 key, uint32 until);
    event Released(bytes32 indexed id, uint24 indexed node, uint32 key);
    event Frozen(bytes32 indexed id, uint32 epoch, uint32 sequence, uint64 until, uint8 member, bytes signature);
    event Ended(bytes32 indexed id, State state);
    event Noticed(bytes32 indexed id, uint24 indexed node, uint32 key, uint40 time);
    event Acked(
        bytes32 indexed id, uint24 indexed node, uint32 key, uint32 sequence, uint8 phase, uint64 time, bytes report
    );

    error WrongState(State state);
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
        return _id(group, keccak256(bytes(name)));
    }

    function _id(bytes32 group, bytes32 name) private pure returns (bytes32) {
        return keccak256(abi.encode(group, name));
    }

    /// Takes one agreed step: I3 (consent), I4 and I7 (the one successor of the head), I1 and I2 (capacity).
    function approve(Transition calldata t, uint256 by, bytes[] calldata signatures) external {
        _current(t.group, t.set);
        if (block.timestamp > t.deadline) revert Expired();
        bytes32 kind = keccak256(bytes(t.kind));
        bytes32 name = keccak256(bytes(t.name));
        bytes32 digest = _hashTypedDataV4(Hash.transition(t, kind, name));
        uint256 weight = _consent(t.group, t.epoch, digest, by, signatures);
        bytes32 id = _id(t.group, name);
        Deployment storage d = deployments[id];
        if (t.sequence != d.sequence + 1 || t.previous != d.head) revert NotTheSuccessor(d.sequence, d.head);
        bool grows = kind == DEPLOY || kind == UPDATE || kind == UNDO;
        if (t.version != d.version + (grows ? 1 : 0)) revert Invalid(Why.Version);
        State state = d.state;
        bool isOver = kind == DEPLOY || (kind == WIPE && state != State.None && state != State.Active);
        if (isOver == (state == State.Active)) revert WrongState(state);
        if (grows || kind == MIGRATE) {
            if (kind == MIGRATE && t.specRoot != d.specRoot) revert Invalid(Why.KeepsSpec);
            if (t.sequence == 1) _checkLabel(t.name);
            _place(id, t);
            _claim(id, t.names);
            d.expiry = t.expiry;
            d.specRoot = t.specRoot;
            d.state = State.Active;
            if (kind == DEPLOY) d.frozenUntil = 0;
        } else {
            if (t.slots.length + t.names.length > 0 || t.specRoot != 0) revert Invalid(Why.CarriesSpec);
            if (kind == THAW) d.frozenUntil = 0;
            else if (kind == FREEZE) d.frozenUntil = type(uint40).max;
            else _end(id, kind == CANCEL ? State.Cancelled : State.Wiped);
        }
        d.sequence = t.sequence;
        if (grows) d.version = t.version;
        d.head = digest;
        // last, so that a call with too few signatures tells whether anything else stands in the way
        _enough(weight, _threshold(kind, groups[t.group].thresholds));
        emit Approved(id, t.group, digest, t, by, signatures);
    }

    /// Any one member with the right to stop, once per epoch and deployment. I5: frees neither capacity nor data.
    function freeze(
        bytes32 group,
        uint32 epoch,
        string calldata name,
        uint32 sequence,
        uint64 until,
        uint8 member,
        bytes calldata signature
    ) external {
        bytes32 nameHash = keccak256(bytes(name));
        bytes32 id = _id(group, nameHash);
        Deployment storage d = deployments[id];
        if (d.state != State.Active) revert WrongState(d.state);
        if (sequence != d.sequence) revert NotTheSuccessor(d.sequence, d.head);
        bytes32 hash = keccak256(abi.encode(Hash.FREEZE, group, epoch, nameHash, sequence, until));
        Seat memory seat = _verify(group, STOP, epoch, _hashTypedDataV4(hash), member, signature);
        if (until <= block.timestamp || until > block.timestamp + seat.freezeSeconds) revert TooEarly(until);
        uint256 froze = d.froze >> 56 == epoch ? d.froze : uint256(epoch) << 56;
        if (froze >> member & 1 != 0) revert AlreadyFroze(member);
        d.froze = uint88(froze | 1 << member);
        if (until > d.frozenUntil) d.frozenUntil = uint40(until);
        emit Frozen(id, epoch, sequence, until, member, signature);
    }

    /// A node's report. The new node running, or the old one stopped, ends a migration.
    function ack(Ack calldata a, bytes calldata signature) external {
        if (a.report.length > 256) revert Invalid(Why.ReportLength);
        bytes memory said = abi.encode(a.sequence, a.phase, a.time, keccak256(a.report));
        bytes memory all = bytes.concat(abi.encode(Hash.ACK, a.deployment, a.slot, a.node), said);
        _signed(nodes[a.node].key, _hashTypedDataV4(keccak256(all)), signature);
        Placement storage p = slots[a.deployment][a.slot];
        if (a.sequence != deployments[a.deployment].sequence) revert Invalid(Why.Sequence);
        if (p.node == a.node && p.phase != Phase.Released) {
            if (a.phase < uint8(Phase.Running) || a.phase > uint8(Phase.Stopped)) revert Invalid(Why.Phase);
            p.phase = Phase(a.phase);
            if (p.phase == Phase.Running) _leave(a.deployment, a.slot);
        } else {
            if (leaving[a.deployment][a.slot].node != a.node || a.phase != uint8(Phase.Stopped)) revert NotTheOwner();
            _leave(a.deployment, a.slot);
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
        if (d.state != State.Active) revert WrongState(d.state);
        if (d.expiry == 0 || block.timestamp <= d.expiry) revert TooEarly(d.expiry);
        _end(id, State.Expired);
    }

    /// The operator announces that it wants a slot back.
    function notice(bytes32 id, uint32 key) external {
        Placement storage p = _operated(id, key);
        if (notices[id][key] != 0 || p.phase == Phase.Released) revert Invalid(Why.Noticed);
        uint40 due = uint40(block.timestamp) + NOTICE;
        notices[id][key] = due;
        emit Noticed(id, p.node, key, due);
    }

    /// I9: the operator takes it back once the notice is over.
    function reclaim(bytes32 id, uint32 key) external {
        Placement storage p = _operated(id, key);
        uint40 due = notices[id][key];
        if (due == 0 || p.phase == Phase.Released || block.timestamp < due) revert TooEarly(due);
        _free(p.node, p.booked);
        delete p.booked;
        p.phase = Phase.Released; // the node's name stays: it is the proof of release
        emit Released(id, p.node, key);
    }

    /// A slot of the caller's own farm.
    function _operated(bytes32 id, uint32 key) private view returns (Placement storage p) {
        p = slots[id][key];
        if (msg.sender != farms[nodes[p.node].farm]) revert NotTheOwner();
    }

    function _active(bytes32 id) internal view override returns (bool) {
        return deployments[id].state == State.Active;
    }

    function _threshold(bytes32 kind, Thresholds storage needed) private view returns (uint256) {
        if (kind == DEPLOY || kind == UPDATE || kind == UNDO || kind == MIGRATE) return needed.deploy;
        if (kind == THAW || kind == FREEZE || kind == CANCEL) return needed.control;
        if (kind == WIPE) return needed.wipe;
        revert Invalid(Why.Kind);
    }

    /// Frees the old placements, books the new: all of it or nothing, in one transaction.
    function _place(bytes32 id, Transition calldata t) private {
        if (t.slots.length == 0 || t.slots.length > 128) revert Invalid(Why.SlotCount);
        if (t.expiry != 0 && t.expiry <= block.timestamp) revert Expired();
        uint256 kept = 0;
        for (uint256 i = 0; i < t.slots.length; i++) {
            Slot calldata s = t.slots[i];
            if (s.index > 127 || s.mode > STANDBY) revert Invalid(Why.SlotForm);
            uint256 bit = 1 << _key(s);
            if (kept >= bit) revert Invalid(Why.SlotOrder);
            kept |= bit;
        }
        _release(id, kept);
        for (uint256 i = 0; i < t.slots.length; i++) _put(id, t.slots[i], t);
        if (t.rules.farms > 1) _spread(t);
    }

    function _key(Slot calldata s) private pure returns (uint32) {
        return s.mode == STANDBY ? s.index + 128 : s.index;
    }

    /// I6: frees what each live slot booked, once, and forgets those whose bit is not among the KEPT.
    function _release(bytes32 id, uint256 kept) private {
        Deployment storage d = deployments[id];
        uint256 primaries = d.slots;
        uint256 count = primaries + d.standbys;
        (d.slots, d.standbys) = (0, 0);
        for (uint256 i = 0; i < count; i++) {
            uint32 key = uint32(i < primaries ? i : i - primaries + 128);
            Placement memory p = slots[id][key];
            bool live = p.node != 0 && p.phase != Phase.Released;
            if (live) _free(p.node, p.booked);
            if (p.node == 0 || kept >> key & 1 != 0) continue;
            _leave(id, key);
            delete notices[id][key];
            delete slots[id][key];
            if (live) emit Released(id, p.node, key);
        }
    }

    /// Books one slot; what it leaves for another node stays booked for `drain` seconds.
    function _put(bytes32 id, Slot calldata s, Transition calldata t) private {
        uint32 key = _key(s);
        Placement memory p = slots[id][key];
        bool live = p.node != 0 && p.phase != Phase.Released;
        if (!live || p.node != s.node) {
            if (nodes[s.node].state != UP) revert NodeTakesNoSlots(s.node);
            delete notices[id][key];
            if (live && t.drain > 0) {
                if (leaving[id][key].node != 0) revert StillDraining(key);
                _reserve(p.node, p.booked);
                uint32 until = uint32(block.timestamp + t.drain);
                leaving[id][key] = Leaving(p.booked, p.node, until);
                emit Draining(id, p.node, key, until);
            } else if (live) {
                emit Released(id, p.node, key);
            }
        }
        _permitted(t.rules, s.node);
        uint200 booked = Pack.pack(s.resources);
        _reserve(s.node, booked);
        slots[id][key] = Placement(booked, s.node, s.mode, Phase.Reserved);
        if (s.mode == STANDBY) deployments[id].standbys = uint8(s.index + 1);
        else deployments[id].slots = uint8(s.index + 1);
        emit Placed(id, s.node, key, t.sequence);
    }

    /// Ends what a migration left behind, if anything.
    function _leave(bytes32 id, uint32 key) private {
        Leaving memory l = leaving[id][key];
        if (l.node == 0) return;
        _free(l.node, l.booked);
        delete leaving[id][key];
        emit Released(id, l.node, key);
    }

    function _end(bytes32 id, State state) private {
        _release(id, 0);
        deployments[id].state = state;
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

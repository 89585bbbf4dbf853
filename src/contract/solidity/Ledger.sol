// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ERC7913P256Verifier} from "@openzeppelin/contracts/utils/cryptography/verifiers/ERC7913P256Verifier.sol";
import {ERC7913WebAuthnVerifier} from "@openzeppelin/contracts/utils/cryptography/verifiers/ERC7913WebAuthnVerifier.sol";
import {Groups} from "./Groups.sol";
import {Slots} from "./Slots.sol";
import {Ack, Freeze, Hash, Invalid, Thresholds, Transition, Why} from "./Types.sol";

/// Deployments and their names. Orders what groups agreed on and books capacity for it; nodes verify the consent again
/// themselves. Immutable; nobody, the deployer included, has a right no group gave (I10).
contract Ledger is Groups, Slots {
    enum State { None, Active, Cancelled, Wiped, Expired }

    uint8 private constant RUNNING = 2; // what a node says of a slot: that it runs, failed (3) or was
    uint8 private constant STOPPED = 4;

    /// All but head and specRoot in one word; a thaw and a freeze touch little else.
    struct Deployment {
        uint32 sequence;
        uint32 version;
        uint40 expiry;
        uint40 frozenUntil;
        State state;
        uint88 froze; // an epoch, and which members froze in it: a bit for each place in the set
        bytes32 head;
        bytes32 specRoot;
    }

    /// By the hash of the group's id and the hash of the name: names are unique within a group.
    mapping(bytes32 id => Deployment) public deployments;
    /// Public labels, each held by one live deployment.
    mapping(bytes32 labelHash => bytes32 deployment) public names;

    event Approved(bytes32 indexed id, bytes32 indexed group, Transition transition, uint256 by, bytes[] signatures);
    event Frozen(bytes32 indexed id, uint32 epoch, uint32 sequence, uint64 until, uint8 member, bytes signature);
    event Ended(bytes32 indexed id, State state);
    event Acked(bytes32 indexed id, uint24 indexed node, Ack ack);
    event Named(bytes32 indexed labelHash, bytes32 indexed deployment, string label);

    error WrongState(State state);
    error NotTheSuccessor(uint32 sequence, bytes32 head);
    error AlreadyFroze(uint8 member);
    error BadLabel(string label);
    error NameTaken(string label);

    /// Brings the verifiers of passkeys with it: their addresses follow from this one's, so that whoever knows the
    /// contract knows offline which members are P-256 keys (nonce 1) and which are WebAuthn passkeys (nonce 2).
    constructor() EIP712("ZOS", "1") {
        new ERC7913P256Verifier();
        new ERC7913WebAuthnVerifier();
    }

    /// Takes one agreed step: I3 (consent), I4 and I7 (the one successor of the head), I1 and I2 (capacity).
    function approve(Transition calldata t, uint256 by, bytes[] calldata signatures) external {
        _current(t.group, t.set, t.deadline);
        bytes32 kind = keccak256(bytes(t.kind));
        bytes32 name = keccak256(bytes(t.name));
        bytes32 digest = _hashTypedDataV4(Hash.transition(t, kind, name));
        uint256 weight = _consent(t.group, t.epoch, digest, by, signatures);
        bytes32 id = keccak256(abi.encode(t.group, name));
        Deployment storage d = deployments[id];
        if (t.sequence != d.sequence + 1 || t.previous != d.head) revert NotTheSuccessor(d.sequence, d.head);
        bool starts = kind == keccak256("deploy");
        bool wipes = kind == keccak256("wipe");
        bool grows = starts || kind == keccak256("update") || kind == keccak256("undo");
        bool places = grows || kind == keccak256("migrate");
        if (t.version != d.version + (grows ? 1 : 0)) revert Invalid(Why.Version);
        bool isOver = starts || (wipes && d.state > State.Active);
        if (isOver == (d.state == State.Active)) revert WrongState(d.state);
        if (places) {
            if (!grows && t.specRoot != d.specRoot) revert Invalid(Why.KeepsSpec);
            if (t.expiry != 0 && t.expiry <= block.timestamp) revert Invalid(Why.Expired);
            if (t.sequence == 1) _checkLabel(t.name);
            if (starts) d.frozenUntil = 0;
            d.state = State.Active;
            d.expiry = t.expiry;
            d.specRoot = t.specRoot;
            _place(id, t);
            _claim(id, t.names);
        } else {
            if (t.slots.length + t.names.length > 0 || t.specRoot != 0) revert Invalid(Why.CarriesSpec);
            if (wipes) _end(id, State.Wiped);
            else if (kind == keccak256("cancel")) _end(id, State.Cancelled);
            else if (kind == keccak256("thaw")) d.frozenUntil = 0;
            else if (kind == keccak256("freeze")) d.frozenUntil = type(uint40).max;
            else revert Invalid(Why.Kind);
        }
        d.sequence = t.sequence;
        d.version = t.version;
        d.head = digest;
        // last, so that a call with too few signatures tells whether anything else stands in the way
        Thresholds storage least = thresholds[t.group];
        uint256 needed = places ? least.deploy : wipes ? least.wipe : least.control;
        if (weight < needed) revert NotEnoughWeight(weight, needed);
        emit Approved(id, t.group, t, by, signatures);
    }

    /// Any one member with the right to stop, once per epoch and deployment. I5: frees neither capacity nor data.
    function freeze(Freeze calldata f, uint8 member, bytes calldata signature) external {
        bytes32 id = keccak256(abi.encode(f.group, f.name));
        Deployment storage d = deployments[id];
        if (d.state != State.Active) revert WrongState(d.state);
        if (f.sequence != d.sequence) revert NotTheSuccessor(d.sequence, d.head);
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(Hash.FREEZE, f)));
        uint256 latest = block.timestamp + _verify(f.group, STOP, f.epoch, digest, member, signature).freezeSeconds;
        if (f.until <= block.timestamp || f.until > latest) revert TooEarly(f.until);
        uint256 froze = d.froze >> 56 == f.epoch ? d.froze : uint256(f.epoch) << 56;
        if (froze >> member & 1 != 0) revert AlreadyFroze(member);
        d.froze = uint88(froze | 1 << member);
        if (f.until > d.frozenUntil) d.frozenUntil = uint40(f.until);
        emit Frozen(id, f.epoch, f.sequence, f.until, member, signature);
    }

    /// A node's report. The new node running, or the old one stopped, ends a migration; the rest is for its readers.
    function ack(Ack calldata a, bytes calldata signature) external {
        if (a.report.length > 256) revert Invalid(Why.ReportLength);
        _signed(nodes[a.node].key, _hashTypedDataV4(Hash.ack(a)), signature);
        if (a.sequence != deployments[a.deployment].sequence) revert Invalid(Why.Sequence);
        if (a.phase < RUNNING || a.phase > STOPPED) revert Invalid(Why.Phase);
        bool isHere = bookings[a.deployment][a.slot].node == a.node;
        bool hasLeft = a.phase == STOPPED && bookings[a.deployment][a.slot + LEFT].node == a.node;
        if (!isHere && !hasLeft) revert Invalid(Why.NotTheOwner);
        if (!isHere || a.phase == RUNNING) _drop(a.deployment, a.slot + LEFT);
        emit Acked(a.deployment, a.node, a);
    }

    /// Anyone may end a deployment that outlived its expiry.
    function expire(bytes32 id) external {
        Deployment storage d = deployments[id];
        if (d.state != State.Active) revert WrongState(d.state);
        if (d.expiry == 0 || block.timestamp <= d.expiry) revert TooEarly(d.expiry);
        _end(id, State.Expired);
    }

    function _end(bytes32 id, State state) private {
        _release(id, 0);
        deployments[id].state = state;
        emit Ended(id, state);
    }

    function _claim(bytes32 id, string[] calldata labels) private {
        for (uint256 i = 0; i < labels.length; i++) {
            bytes32 key = keccak256(bytes(labels[i]));
            bytes32 holder = names[key];
            if (holder == id) continue;
            if (deployments[holder].state == State.Active) revert NameTaken(labels[i]);
            _checkLabel(labels[i]);
            names[key] = id;
            emit Named(key, id, labels[i]);
        }
    }

    /// A DNS label (RFC 1123): 1 to 63 of a–z, 0–9 and "-", which neither begins nor ends it.
    function _checkLabel(string calldata label) private pure {
        bytes calldata b = bytes(label);
        if (b.length == 0 || b.length > 63 || b[0] == "-" || b[b.length - 1] == "-") revert BadLabel(label);
        for (uint256 i = 0; i < b.length; i++) {
            bytes1 c = b[i];
            if (!((c >= "a" && c <= "z") || (c >= "0" && c <= "9") || c == "-")) revert BadLabel(label);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Nodes} from "./Nodes.sol";
import {Invalid, Rules, Slot, Transition, Why, pack} from "./Types.sol";

/// What deployments have booked on nodes. A slot's key is its index, plus 128 for its standby; what a migration of it left
/// behind is under its key plus LEFT.
abstract contract Slots is Nodes {
    uint8 private constant STANDBY = 2; // mode of a slot; keep is 0, fenced 1
    uint256 internal constant LEFT = 256;

    /// How long before its end an operator must announce that it takes a booking back (I9).
    uint32 public constant NOTICE = 7 days;

    struct Booking {
        uint200 booked;
        uint24 node;
        uint32 until; // when it may be taken back: after a notice, or left behind; else 0
    }

    /// A bit for each key below LEFT that is placed. One without a booking was taken back.
    mapping(bytes32 id => uint256 keys) public placed;
    mapping(bytes32 id => mapping(uint256 key => Booking)) public bookings;

    event Placed(bytes32 indexed id, uint24 indexed node, uint256 key, uint32 sequence);
    event Draining(bytes32 indexed id, uint24 indexed node, uint256 key, uint32 until);
    event Released(bytes32 indexed id, uint24 indexed node, uint256 key);
    event Noticed(bytes32 indexed id, uint24 indexed node, uint256 key, uint32 until);

    error NotAllowedThere(uint24 node);
    error NodeTakesNoSlots(uint24 node);
    error StillDraining(uint256 key);
    error TooEarly(uint256 time);

    /// The operator announces that it wants a booking back; what a migration left behind can stay no longer either.
    function notice(bytes32 id, uint256 key) external {
        Booking storage b = bookings[id][key];
        _operates(b.node);
        uint32 due = uint32(block.timestamp) + NOTICE;
        if (b.until != 0 && b.until <= due) revert Invalid(Why.Noticed);
        b.until = due;
        emit Noticed(id, b.node, key, due);
    }

    /// I9: once the notice is over the operator takes a slot back; and anyone, in time, what a migration left behind.
    function reclaim(bytes32 id, uint256 key) external {
        Booking storage b = bookings[id][key];
        if (key < LEFT) _operates(b.node);
        if (b.until == 0 || block.timestamp < b.until) revert TooEarly(b.until);
        _drop(id, key);
    }

    /// Frees the old placements, books the new: all of it or nothing, in one transaction.
    function _place(bytes32 id, Transition calldata t) internal {
        if (t.slots.length == 0 || t.slots.length > 128) revert Invalid(Why.SlotCount);
        uint256 keys = 0;
        for (uint256 i = 0; i < t.slots.length; i++) {
            Slot calldata s = t.slots[i];
            if (s.index > 127 || s.mode > STANDBY) revert Invalid(Why.SlotForm);
            uint256 bit = 1 << _key(s);
            if (keys >= bit) revert Invalid(Why.SlotOrder);
            keys |= bit;
        }
        _release(id, keys);
        for (uint256 i = 0; i < t.slots.length; i++) _put(id, t.slots[i], t);
        if (t.rules.farms > 1) _spread(t);
    }

    function _key(Slot calldata s) private pure returns (uint256) {
        return s.mode == STANDBY ? s.index + 128 : s.index;
    }

    /// I6: frees what each slot booked, once, and forgets those whose bit is not among the KEPT.
    function _release(bytes32 id, uint256 kept) internal {
        uint256 keys = placed[id];
        for (uint256 key = 0; keys >> key != 0; key++) {
            if (keys >> key & 1 == 0) continue;
            if (kept >> key & 1 != 0) {
                nodes[bookings[id][key].node].used -= bookings[id][key].booked;
            } else {
                _drop(id, key);
                _drop(id, key + LEFT);
            }
        }
        placed[id] = kept;
    }

    /// Books one slot; what it leaves for another node stays booked for `drain` seconds.
    function _put(bytes32 id, Slot calldata s, Transition calldata t) private {
        uint256 key = _key(s);
        Booking memory b = bookings[id][key];
        if (b.node != s.node) {
            if (nodes[s.node].state != UP) revert NodeTakesNoSlots(s.node);
            if (b.node != 0 && t.drain > 0) {
                if (bookings[id][key + LEFT].node != 0) revert StillDraining(key);
                _reserve(b.node, b.booked);
                b.until = uint32(block.timestamp + t.drain);
                bookings[id][key + LEFT] = b;
                emit Draining(id, b.node, key, b.until);
            } else if (b.node != 0) {
                emit Released(id, b.node, key);
            }
            b.until = 0;
        }
        _permitted(t.rules, s.node);
        b.booked = pack(s.resources);
        _reserve(s.node, b.booked);
        bookings[id][key] = Booking(b.booked, s.node, b.until);
        emit Placed(id, s.node, key, t.sequence);
    }

    /// Ends a booking, if there is one.
    function _drop(bytes32 id, uint256 key) internal {
        Booking memory b = bookings[id][key];
        if (b.node == 0) return;
        nodes[b.node].used -= b.booked;
        delete bookings[id][key];
        emit Released(id, b.node, key);
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

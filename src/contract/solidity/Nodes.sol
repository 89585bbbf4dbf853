// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Beat, GUARD, Hash, Invalid, Registration, Why, pack} from "./Types.sol";

/// Farms and their nodes: keys, country, capacity and what is booked of it. Nodes sign, anyone relays: a node needs no
/// funds. What else a node says of itself (its place, its name) stands in its attributes, for clients to read.
abstract contract Nodes is EIP712 {
    uint8 internal constant UP = 1;
    uint8 private constant DOWN = 3; // UP takes new slots; DRAIN (2) and DOWN keep those they have

    /// Packed by what is touched together: a heartbeat reads and writes the first word alone.
    struct Node {
        address key;
        uint32 farm;
        bytes2 country;
        uint40 seen;
        uint200 capacity;
        uint8 state;
        uint16 nonce;
        uint200 used;
    }

    mapping(uint24 id => Node) public nodes;
    /// A key is one node's for ever: what a key signed that was given up makes no second node.
    mapping(address key => uint24 id) public nodeOf;
    mapping(uint32 id => address owner) public farms;
    uint24 public nodeCount;
    uint32 public farmCount;

    event FarmSet(uint32 indexed farm, address indexed owner, string name);
    event NodeSet(uint24 indexed node, uint32 indexed farm, Registration registration);
    event NodeState(uint24 indexed node, uint8 state);

    error OverCapacity(uint24 node);

    /// Opens a farm (id = 0), or gives one another owner or name.
    function setFarm(uint32 id, address owner, string calldata name) external {
        if (id == 0) id = ++farmCount;
        else if (msg.sender != farms[id]) revert Invalid(Why.NotTheOwner);
        farms[id] = owner;
        emit FarmSet(id, owner, name);
    }

    /// Adds a node (r.node = 0) or changes one. Signatures: the node's key, the farm's owner, and the old key on rotation.
    function registerNode(Registration calldata r, bytes[] calldata signatures) external returns (uint24 id) {
        bytes32 digest = _hashTypedDataV4(Hash.registration(r));
        if (block.timestamp > r.deadline) revert Invalid(Why.Expired);
        if (r.attributes.length > 2048) revert Invalid(Why.Attributes);
        _signed(r.key, digest, signatures[0]);
        if (!SignatureChecker.isValidSignatureNow(farms[r.farm], digest, signatures[1])) revert Invalid(Why.NotTheOwner);
        id = r.node == 0 ? ++nodeCount : r.node;
        Node storage n = nodes[id];
        if (r.nonce != n.nonce + 1) revert Invalid(Why.Nonce);
        if (r.node == 0) n.state = UP;
        else if (r.farm != n.farm) revert Invalid(Why.Farm);
        if (r.key != n.key) {
            if (nodeOf[r.key] != 0) revert Invalid(Why.KeyInUse);
            if (r.node != 0) _signed(n.key, digest, signatures[2]);
            nodeOf[r.key] = id;
        }
        n.key = r.key;
        n.farm = r.farm;
        n.country = r.country;
        n.capacity = pack(r.capacity);
        n.nonce = r.nonce;
        _reserve(id, 0);
        emit NodeSet(id, r.farm, r);
    }

    function setNodeState(uint24 id, uint8 state) external {
        _operates(id);
        if (state < UP || state > DOWN) revert Invalid(Why.NodeState);
        nodes[id].state = state;
        emit NodeState(id, state);
    }

    /// Heartbeats in a batch; one that is stale, from the future or not the node's own is passed over.
    function beat(Beat[] calldata beats) external {
        for (uint256 i = 0; i < beats.length; i++) {
            Beat calldata b = beats[i];
            Node storage n = nodes[b.node];
            if (b.time <= n.seen || b.time > block.timestamp + 300) continue;
            (address by,,) = ECDSA.tryRecover(_hashTypedDataV4(keccak256(abi.encode(Hash.BEAT, b.node, b.time))), b.r, b.vs);
            if (by != address(0) && by == n.key) n.seen = uint40(b.time);
        }
    }

    function _signed(address key, bytes32 digest, bytes calldata signature) internal pure {
        (address by,,) = ECDSA.tryRecover(digest, signature);
        if (by == address(0) || by != key) revert Invalid(Why.NodeSignature);
    }

    function _operates(uint24 id) internal view {
        if (msg.sender != farms[nodes[id].farm]) revert Invalid(Why.NotTheOwner);
    }

    /// I1: what is booked never exceeds what there is, lane by lane.
    function _reserve(uint24 id, uint200 r) internal {
        Node storage n = nodes[id];
        uint200 used = n.used + r;
        if (used & GUARD != 0 || ((n.capacity | GUARD) - used) & GUARD != GUARD) revert OverCapacity(id);
        n.used = used;
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

// What is signed (EIP-712) and stored, and how it is hashed. The type strings here and those of ../typed/types.ts are
// one format: docs/formats/approval-log.md.

/// Why something is not taken. ../actions/relayer.ts has the words, in this order.
enum Why {
    StaleEpoch, Expired, NotTheOwner, Founding, MemberCount, MemberOrder, SignerLength, Roles, NoWeight, Threshold,
    Version, KeepsSpec, CarriesSpec, ReportLength, Sequence, Phase, Noticed, Kind, SlotCount, SlotForm, SlotOrder,
    Farms, Attributes, Nonce, Farm, KeyInUse, NodeState, NodeSignature, TooMuch
}

error Invalid(Why why);

/// cpu in 1/1000, ram and ssd in MiB, hdd in GiB, uplink in kbit/s; each below 2^27.
struct Resources {
    uint32 cpu;
    uint32 ram;
    uint32 ssd;
    uint32 hdd;
    uint32 uplink;
    uint32 gpu;
    uint32 ipv4;
}

// The top bit of each lane of packed resources: 0, so that sums stay in their lane and one subtraction compares all.
uint200 constant GUARD = 0x8000000800000080000008000000800000080000008000000;

/// Resources in storage: seven lanes of 28 bits, cpu lowest.
function pack(Resources calldata r) pure returns (uint200) {
    uint256 any = r.cpu | r.ram | r.ssd | r.hdd | r.uplink | r.gpu | r.ipv4;
    if (any >> 27 != 0) revert Invalid(Why.TooMuch);
    uint256 p = uint256(r.ipv4) << 168 | uint256(r.gpu) << 140 | uint256(r.uplink) << 112 | uint256(r.hdd) << 84;
    return uint200(p | uint256(r.ssd) << 56 | uint256(r.ram) << 28 | r.cpu);
}

/// signer: 20 bytes address (key or contract wallet) or an ERC-7913 signer. seal: X25519 key for sealed specs, or zero.
struct Member {
    bytes signer;
    uint32 weight;
    uint8 roles;
    bytes32 seal;
}

struct Thresholds {
    uint32 deploy;
    uint32 control;
    uint32 wipe;
    uint32 membership;
}

/// A group's members in one epoch. The founding set has group 0, and its digest is the group's id.
struct MemberSet {
    bytes32 group;
    uint32 epoch;
    bytes32 previous;
    Member[] members;
    Thresholds thresholds;
    uint24 freezeSeconds;
    uint64 deadline;
}

/// One placement. blob: SHA-256 of the sealed spec. mode: 0 keep, 1 fenced, 2 standby.
struct Slot {
    uint32 index;
    uint24 node;
    uint8 mode;
    bytes32 blob;
    Resources resources;
}

/// Where a deployment may and may not be (ISO 3166-1 alpha-2) and over how many farms at least.
struct Rules {
    bytes2[] allow;
    bytes2[] deny;
    uint8 farms;
}

/// What members sign: one step of one deployment, naming the step before it.
struct Transition {
    string kind;
    bytes32 group;
    uint32 epoch;
    bytes32 set;
    string name;
    uint32 sequence;
    uint32 version;
    bytes32 previous;
    bytes32 specRoot;
    Slot[] slots;
    Rules rules;
    string[] names;
    uint40 expiry;
    uint24 drain;
    uint64 deadline;
}

/// name: its hash, as EIP-712 has it.
struct Freeze {
    bytes32 group;
    uint32 epoch;
    bytes32 name;
    uint32 sequence;
    uint64 until;
}

/// attributes: at most 2048 bytes of JSON.
struct Registration {
    uint24 node;
    uint32 farm;
    address key;
    bytes32 seal;
    Resources capacity;
    bytes2 country;
    bytes attributes;
    uint16 nonce;
    uint64 deadline;
}

/// What a node says of a slot. report: at most 256 bytes, a reason in words.
struct Ack {
    bytes32 deployment;
    uint8 slot;
    uint24 node;
    uint32 sequence;
    uint8 phase;
    uint64 time;
    bytes report;
}

/// A sign of life; the signature in its short form (EIP-2098).
struct Beat {
    uint24 node;
    uint64 time;
    bytes32 r;
    bytes32 vs;
}

/// The structs above as EIP-712 hashes them. A type's string says what is in it, so it is one line however long.
library Hash {
    bytes32 private constant RESOURCES = keccak256("Resources(uint32 cpu,uint32 ram,uint32 ssd,uint32 hdd,uint32 uplink,uint32 gpu,uint32 ipv4)");
    bytes32 private constant MEMBER = keccak256("Member(bytes signer,uint32 weight,uint8 roles,bytes32 seal)");
    bytes32 private constant THRESHOLDS = keccak256("Thresholds(uint32 deploy,uint32 control,uint32 wipe,uint32 membership)");
    bytes32 private constant MEMBER_SET = keccak256("MemberSet(bytes32 group,uint32 epoch,bytes32 previous,Member[] members,Thresholds thresholds,uint24 freezeSeconds,uint64 deadline)Member(bytes signer,uint32 weight,uint8 roles,bytes32 seal)Thresholds(uint32 deploy,uint32 control,uint32 wipe,uint32 membership)");
    bytes32 private constant SLOT = keccak256("Slot(uint32 index,uint24 node,uint8 mode,bytes32 blob,Resources resources)Resources(uint32 cpu,uint32 ram,uint32 ssd,uint32 hdd,uint32 uplink,uint32 gpu,uint32 ipv4)");
    bytes32 private constant RULES = keccak256("Rules(bytes2[] allow,bytes2[] deny,uint8 farms)");
    bytes32 private constant TRANSITION = keccak256("Transition(string kind,bytes32 group,uint32 epoch,bytes32 set,string name,uint32 sequence,uint32 version,bytes32 previous,bytes32 specRoot,Slot[] slots,Rules rules,string[] names,uint40 expiry,uint24 drain,uint64 deadline)Resources(uint32 cpu,uint32 ram,uint32 ssd,uint32 hdd,uint32 uplink,uint32 gpu,uint32 ipv4)Rules(bytes2[] allow,bytes2[] deny,uint8 farms)Slot(uint32 index,uint24 node,uint8 mode,bytes32 blob,Resources resources)");
    bytes32 internal constant FREEZE = keccak256("Freeze(bytes32 group,uint32 epoch,string name,uint32 sequence,uint64 until)");
    bytes32 private constant REGISTRATION = keccak256("Registration(uint24 node,uint32 farm,address key,bytes32 seal,Resources capacity,bytes2 country,bytes attributes,uint16 nonce,uint64 deadline)Resources(uint32 cpu,uint32 ram,uint32 ssd,uint32 hdd,uint32 uplink,uint32 gpu,uint32 ipv4)");
    bytes32 private constant ACK = keccak256("Ack(bytes32 deployment,uint8 slot,uint24 node,uint32 sequence,uint8 phase,uint64 time,bytes report)");
    bytes32 internal constant BEAT = keccak256("Beat(uint24 node,uint64 time)");

    function resources(Resources calldata r) private pure returns (bytes32) {
        return keccak256(abi.encode(RESOURCES, r));
    }

    function memberSet(MemberSet calldata s) internal pure returns (bytes32) {
        bytes32[] memory list = new bytes32[](s.members.length);
        for (uint256 i = 0; i < list.length; i++) {
            Member calldata m = s.members[i];
            list[i] = keccak256(abi.encode(MEMBER, keccak256(m.signer), m.weight, m.roles, m.seal));
        }
        bytes32 all = keccak256(abi.encodePacked(list));
        bytes32 least = keccak256(abi.encode(THRESHOLDS, s.thresholds));
        return keccak256(abi.encode(MEMBER_SET, s.group, s.epoch, s.previous, all, least, s.freezeSeconds, s.deadline));
    }

    function slots(Slot[] calldata all) private pure returns (bytes32) {
        bytes32[] memory list = new bytes32[](all.length);
        for (uint256 i = 0; i < list.length; i++) {
            Slot calldata s = all[i];
            list[i] = keccak256(abi.encode(SLOT, s.index, s.node, s.mode, s.blob, resources(s.resources)));
        }
        return keccak256(abi.encodePacked(list));
    }

    function strings(string[] calldata all) private pure returns (bytes32) {
        bytes32[] memory list = new bytes32[](all.length);
        for (uint256 i = 0; i < list.length; i++) list[i] = keccak256(bytes(all[i]));
        return keccak256(abi.encodePacked(list));
    }

    /// kind and name: the hashes of the transition's own.
    function transition(Transition calldata t, bytes32 kind, bytes32 name) internal pure returns (bytes32) {
        bytes memory a = abi.encode(TRANSITION, kind, t.group, t.epoch, t.set);
        bytes memory b = abi.encode(name, t.sequence, t.version, t.previous, t.specRoot);
        bytes memory c = abi.encode(slots(t.slots), rules(t.rules), strings(t.names), t.expiry, t.drain, t.deadline);
        return keccak256(bytes.concat(a, b, c));
    }

    function rules(Rules calldata r) private pure returns (bytes32) {
        // EIP-712 pads each bytes2 of an array to a word, as abi.encodePacked does with array elements
        bytes32 allow = keccak256(abi.encodePacked(r.allow));
        return keccak256(abi.encode(RULES, allow, keccak256(abi.encodePacked(r.deny)), r.farms));
    }

    function registration(Registration calldata r) internal pure returns (bytes32) {
        bytes memory head = abi.encode(REGISTRATION, r.node, r.farm, r.key, r.seal, resources(r.capacity), r.country);
        return keccak256(bytes.concat(head, abi.encode(keccak256(r.attributes), r.nonce, r.deadline)));
    }

    function ack(Ack calldata a) internal pure returns (bytes32) {
        bytes32 report = keccak256(a.report);
        return keccak256(abi.encode(ACK, a.deployment, a.slot, a.node, a.sequence, a.phase, a.time, report));
    }
}

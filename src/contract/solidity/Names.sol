// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// Public labels, each held by one live deployment.
abstract contract Names {
    mapping(bytes32 labelHash => bytes32 deployment) public names;

    event Named(bytes32 indexed labelHash, bytes32 indexed deployment, string label);

    error BadLabel(string label);
    error NameTaken(string label);

    function _active(bytes32 deployment) internal view virtual returns (bool);

    function _claim(bytes32 deployment, string[] calldata labels) internal {
        for (uint256 i = 0; i < labels.length; i++) {
            bytes32 key = keccak256(bytes(labels[i]));
            bytes32 holder = names[key];
            if (holder == deployment) continue;
            if (holder != 0 && _active(holder)) revert NameTaken(labels[i]);
            _checkLabel(labels[i]);
            names[key] = deployment;
            emit Named(key, deployment, labels[i]);
        }
    }

    /// A DNS label (RFC 1123): 1 to 63 of a–z, 0–9 and "-", which neither begins nor ends it.
    function _checkLabel(string calldata label) internal pure {
        bytes calldata b = bytes(label);
        if (b.length == 0 || b.length > 63 || b[0] == "-" || b[b.length - 1] == "-") revert BadLabel(label);
        for (uint256 i = 0; i < b.length; i++) {
            bytes1 c = b[i];
            if (!((c >= "a" && c <= "z") || (c >= "0" && c <= "9") || c == "-")) revert BadLabel(label);
        }
    }
}

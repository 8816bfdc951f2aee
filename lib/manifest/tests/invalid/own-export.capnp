@0x9b6f1f6d2a51d027;
# error: process "a", grant "x": "x" is its own export

using import "../../../../schema/manifest.capnp".Manifest;

const manifest :Manifest = (name = "m", entries = [(name = "a", exports = ["x"], grants = [(name = "x", export = (process = "a", name = "x"))])]);

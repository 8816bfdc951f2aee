@0x9b6f1f6d2a51e110;
# Writes and reads a disk by a script; part of no system but the tests'.

using Manifest = import "../../../schema/manifest.capnp";

const quotas :Manifest.Quotas = (frames = 2048, handles = 128, threads = 1);
const restart :Manifest.RestartPolicy = (kind = never);

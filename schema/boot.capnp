@0x9b6f1f6d2a51c007;
# The boot package: the one message that holds the compiled manifest and every binary it names.

using Manifest = import "manifest.capnp";

struct Binary {
  name @0 :Text;
  sha256 @1 :Data;     # 32 bytes, over `content`
  padding @2 :Data;    # makes `content` start on a page boundary of the package, so that it is mapped in place
  content @3 :Data;    # a static ELF64 executable
}

struct BootPackage {
  manifest @0 :Manifest.Manifest;
  binaries @1 :List(Binary);  # sorted by name; the first process is the one named "init"
}

// The PCI functions and who drives them.

const CLASSES = {
  0x0100: "SCSI controller", 0x0101: "IDE controller", 0x0106: "SATA controller", 0x0108: "NVMe controller",
  0x0200: "Ethernet", 0x0280: "network", 0x0300: "VGA display", 0x0380: "display", 0x0403: "audio", 0x0500: "memory",
  0x0600: "host bridge", 0x0601: "ISA bridge", 0x0604: "PCI bridge", 0x0680: "bridge", 0x0700: "serial port",
  0x0780: "communication", 0x0880: "system device", 0x0c03: "USB controller", 0x0c05: "SMBus", 0x0680: "bridge", 0x00ff: "unclassified",
};

const hex = (number, digits) => number.toString(16).padStart(digits, "0");
const className = (it) => CLASSES[it.class >> 8] || `class ${hex(it.class, 6)}`;
const deviceId = (it) => `${hex(it.vendor, 4)}:${hex(it.device, 4)}`;

function showDevices(state) {
  follow($("devices").tBodies[0], state.devices, (it) => it.address,
    () => element("tr", {}, element("th", { scope: "row", className: "code" }), cell(""), cell(""), cell("")),
    (row, it) => {
      const driver = it.driver === null ? null : state.processes[it.driver];
      row.classList.toggle("free", !it.claimed);
      put(row.cells[0], it.address);
      put(row.cells[1], `${className(it)}, ${deviceId(it)}`);
      put(row.cells[2], it.interruptKind === "none" ? "–" : `${it.interruptKind}${it.interruptCount > 1 ? ` ×${it.interruptCount}` : ""}`);
      put(row.cells[3], driver ? driver.name : it.claimed ? "being reset" : "–");
    });
}

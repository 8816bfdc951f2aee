/* QEMU plugin (API version 1) that counts executed guest instructions.
 *
 * Arguments: log=FILE entry=ADDRESS. Writes to FILE:
 *     entry N   when the instruction at ADDRESS is executed for the first time after the first one of the kernel
 *     exit N    when QEMU ends
 *     mark I N  when the instruction 0f 1f 80 I 50 a9 0c is executed, which does nothing
 * where N is the number of instructions executed before, on all processors. Time that a processor is halted counts
 * nothing; each round of a repeated string instruction may count as one. Debian has no header for plugins, so what is
 * used of it is declared here. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where the kernel is linked: all above is the kernel's. */
#define KERNEL 0xffffffff80000000u

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t qemu_plugin_id_t;
enum { CALLBACK_NO_REGISTERS = 0, INLINE_ADD = 0 };
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int, void *, uint64_t);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static uint64_t count;
static uint64_t entry;
static int in_kernel, entered;
static FILE *out;

static void say(const char *what)
{
    fprintf(out, "%s %" PRIu64 "\n", what, count);
    fflush(out);
}

static void at_kernel(unsigned processor, void *unused)
{
    in_kernel = 1;
}

static void at_entry(unsigned processor, void *unused)
{
    if (in_kernel && !entered) {
        entered = 1;
        say("entry");
    }
}

static void at_mark(unsigned processor, void *id)
{
    fprintf(out, "mark %u %" PRIu64 "\n", (unsigned)(uintptr_t)id, count);
    fflush(out);
}

/* The number of a mark, or -1 for another instruction. */
static int mark_of(const struct qemu_plugin_insn *instruction)
{
    const uint8_t *bytes = qemu_plugin_insn_data(instruction);
    static const uint8_t before[] = { 0x0f, 0x1f, 0x80 }, after[] = { 0x50, 0xa9, 0x0c };
    if (qemu_plugin_insn_size(instruction) != 7 || memcmp(bytes, before, 3) || memcmp(bytes + 4, after, 3))
        return -1;
    return bytes[3];
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    size_t instructions = qemu_plugin_tb_n_insns(block);
    if (!in_kernel && qemu_plugin_tb_vaddr(block) >= KERNEL)
        qemu_plugin_register_vcpu_tb_exec_cb(block, at_kernel, CALLBACK_NO_REGISTERS, NULL);
    for (size_t index = 0; index < instructions; index++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, index);
        if (!entered && qemu_plugin_insn_vaddr(instruction) == entry)
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, at_entry, CALLBACK_NO_REGISTERS, NULL);
        int mark = mark_of(instruction);
        if (mark >= 0)
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, at_mark, CALLBACK_NO_REGISTERS, (void *)(uintptr_t)mark);
        qemu_plugin_register_vcpu_insn_exec_inline(instruction, INLINE_ADD, &count, 1);
    }
}

static void ended(qemu_plugin_id_t id, void *unused)
{
    say("exit");
}

__attribute__((visibility("default"))) int
qemu_plugin_install(qemu_plugin_id_t id, const void *information, int arguments, char **argument)
{
    for (int index = 0; index < arguments; index++) {
        if (!strncmp(argument[index], "log=", 4))
            out = fopen(argument[index] + 4, "w");
        else if (!strncmp(argument[index], "entry=", 6))
            entry = strtoull(argument[index] + 6, NULL, 0);
    }
    if (!out)
        return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}

// The multiboot headers, the way from 32-bit protected mode into long mode, and the hand-off.

.set MB1_FLAGS, 0x00010003          // page-aligned modules, memory map, load by the addresses below [MB1 3.1.2]
.set BOOT_FLAGS, 3                  // present, writable
.set CR0_PE_WP_PG, 0x80010001
.set CR4_PAE, 0x20
.set EFER, 0xc0000080
.set EFER_LME_NXE, 0x900
.set NEEDED_FEATURES, 0x20100000    // CPUID 80000001h edx: long mode (29) and no-execute (20) [SDM CPUID]

.section .multiboot, "a"
.balign 8
mb1_header:
    .long 0x1badb002
    .long MB1_FLAGS
    .long -(0x1badb002 + MB1_FLAGS)
    .long mb1_header
    .long loader_start
    .long loader_data_end
    .long loader_end
    .long start32
.balign 8
mb2_header:                         // [MB2 3.1]
    .long 0xe85250d6
    .long 0                         // i386, 32-bit protected mode
    .long mb2_header_end - mb2_header
    .long -(0xe85250d6 + (mb2_header_end - mb2_header))
    .balign 8
    .short 1, 0                     // information request: memory map
    .long 12
    .long 6
    .balign 8
    .short 6, 0                     // page-aligned modules
    .long 8
    .balign 8
    .short 0, 0
    .long 8
mb2_header_end:

.section .text.start32, "ax"
.code32
.global start32
start32:
    cli
    cld
    mov esp, offset stack_top
    mov edi, eax
    mov esi, ebx

    mov eax, 0x80000000
    cpuid
    cmp eax, 0x80000001
    jb no_long_mode
    mov eax, 0x80000001
    cpuid
    and edx, NEEDED_FEATURES
    cmp edx, NEEDED_FEATURES
    jne no_long_mode

    // 4 GiB at their own addresses and in the direct map: two root entries, four pointers, 2048 large pages.
    mov dword ptr [boot_root], offset boot_pointers + BOOT_FLAGS
    mov dword ptr [boot_root + 256 * 8], offset boot_pointers + BOOT_FLAGS
    mov ecx, 4
    mov eax, offset boot_directories + BOOT_FLAGS
    mov edx, offset boot_pointers
1:  mov [edx], eax
    add eax, 4096
    add edx, 8
    dec ecx
    jnz 1b
    mov ecx, 2048
    mov eax, 0x83                   // present, writable, large
    mov edx, offset boot_directories
2:  mov [edx], eax
    add eax, 0x200000
    add edx, 8
    dec ecx
    jnz 2b

    mov eax, CR4_PAE
    mov cr4, eax
    mov eax, offset boot_root
    mov cr3, eax
    mov ecx, EFER
    xor edx, edx
    mov eax, EFER_LME_NXE
    wrmsr
    mov eax, CR0_PE_WP_PG
    mov cr0, eax
    lgdt [descriptors_pointer]
    .byte 0xea                      // far jump to 0x28:enter64, which the assembler cannot write here
    .long enter64
    .short 0x28

// Says so on COM1 with the registers as the firmware left them, and stops.
no_long_mode:
    mov esi, offset no_long_mode_text
3:  mov dx, 0x3fd
    mov ecx, 100000
4:  in al, dx
    test al, 0x20
    jnz 5f
    dec ecx
    jnz 4b
5:  lodsb
    test al, al
    jz 6f
    mov dx, 0x3f8
    out dx, al
    jmp 3b
6:  hlt
    jmp 6b

.code64
enter64:
    mov eax, 0x30
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov fs, eax
    mov gs, eax
    // edi and esi still hold what eax and ebx held.
    call start64
    ud2

// rdi: page tables, rsi: entry, rdx: stack. Runs in a page that both sets of page tables show at the same address.
.section .handoff, "ax"
.global hand_off_start
hand_off_start:
.global switch_and_jump
switch_and_jump:
    mov cr3, rdi
    mov rsp, rdx
    // The descriptor table moves into the direct map with the stack.
    mov eax, {hhdm_high}
    shl rax, 32
    mov ecx, offset descriptors
    add rax, rcx
    push rax
    sub rsp, 2
    mov word ptr [rsp], offset descriptors_limit
    lgdt [rsp]
    mov rsp, rdx
    push 0                          // no return address
    push 0x28
    push rsi
    push 2
    popfq
    xor eax, eax
    xor ebx, ebx
    xor ecx, ecx
    xor edx, edx
    xor esi, esi
    xor edi, edi
    xor ebp, ebp
    xor r8d, r8d
    xor r9d, r9d
    xor r10d, r10d
    xor r11d, r11d
    xor r12d, r12d
    xor r13d, r13d
    xor r14d, r14d
    xor r15d, r15d
    retfq

.section .rodata.descriptors, "a"
no_long_mode_text:
    .asciz "capos loader: this processor has no 64-bit mode or no NX bit\r\n"

// The table that the protocol lays down: null, 16-bit, 32-bit and 64-bit code and data [LIMINE, machine state at entry].
.section .data.descriptors, "aw"
.balign 8
descriptors:
    .quad 0
    .quad 0x00009b000000ffff
    .quad 0x000093000000ffff
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
    .quad 0x00209b0000000000
    .quad 0x0000930000000000
descriptors_end:
.set descriptors_limit, descriptors_end - descriptors - 1
descriptors_pointer:
    .short descriptors_limit
    .long descriptors

.section .bss.boot, "aw", @nobits
.balign 4096
boot_root:
    .skip 4096
boot_pointers:
    .skip 4096
boot_directories:
    .skip 4 * 4096
.global stack_top
    .skip {stack_size}
stack_top:

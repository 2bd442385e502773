/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The instruction emulator: decode and execute one guest instruction outside the guest.
 *
 * Pure C over struct emu.  emulate() works on its own copy of the registers; everything else that
 * an instruction touches (memory, ports, MSRs, vector registers) goes through struct emu_ops.
 * The same inputs give the same sequence of callbacks: when one answers EMU_IO, the caller serves
 * the access, calls emulate() again with the starting registers and answers the calls that were
 * already done from its log.  No state survives outside struct emu.
 *
 * Callbacks with a side effect that cannot be taken back (set_cr, wrmsr, out, ...) come after
 * every check and every memory access of their instruction, except where an instruction consists
 * of several such accesses.
 */
#ifndef STRATA_EMULATE_H
#define STRATA_EMULATE_H

#include "decode.h"

#include <linux/types.h>

/**
 * struct emu_seg - a segment register with its hidden part
 * @base: linear base; 64-bit for FS, GS, LDTR, TR
 * @limit: last offset in bytes, granularity applied
 * @selector: visible part
 * @type: descriptor type, 4 bits
 * @s: code or data (not system)
 * @dpl: descriptor privilege level
 * @p: present
 * @avl: available to software
 * @l: 64-bit code
 * @db: default size
 * @g: granularity
 * @unusable: null selector
 * @reserved: 0, so that two may be compared as bytes
 */
struct emu_seg {
	u64 base;
	u32 limit;
	u16 selector;
	u8 type;
	u8 s;
	u8 dpl;
	u8 p;
	u8 avl;
	u8 l;
	u8 db;
	u8 g;
	u8 unusable;
	u8 reserved;
};

/* struct emu_table - GDTR or IDTR */
struct emu_table {
	u64 base;
	u16 limit;
};

/**
 * struct emu_regs - the registers that the emulator reads and writes itself
 * @gpr: by encoding: RAX RCX RDX RBX RSP RBP RSI RDI R8..R15
 * @rip: instruction pointer (an offset in CS)
 * @rflags: RFLAGS; bit 1 is set
 * @seg: by enum emu_seg_nr
 * @gdtr: GDTR
 * @idtr: IDTR
 * @cr0: as the guest sees it
 * @cr2: page fault address
 * @cr3: page table root
 * @cr4: as the guest sees it
 * @cr8: task priority
 * @efer: EFER as the guest sees it, LMA included
 */
struct emu_regs {
	u64 gpr[16];
	u64 rip;
	u64 rflags;
	struct emu_seg seg[EMU_NR_SEGS];
	struct emu_table gdtr;
	struct emu_table idtr;
	u64 cr0;
	u64 cr2;
	u64 cr3;
	u64 cr4;
	u64 cr8;
	u64 efer;
};

/**
 * enum emu_status - outcome of a callback, and of emulate()
 * @EMU_OK: done
 * @EMU_FAULT: struct emu.exc says what to raise
 * @EMU_IO: userspace must serve an access first; nothing is to be committed
 * @EMU_RETRY: a locked access lost a race: nothing happened, enter the guest or call again
 * @EMU_LEAVE: a callback wants the CPU to execute the instruction itself: nothing happened, enter
 *	the guest
 * @EMU_UNHANDLEABLE: beyond this emulator; nothing is to be committed
 */
enum emu_status { EMU_OK, EMU_FAULT, EMU_IO, EMU_RETRY, EMU_LEAVE, EMU_UNHANDLEABLE };

/* struct emu_exception.kind: how the CPU would deliver it */
enum emu_event_kind {
	EMU_EVENT_EXCEPTION,	/* hardware exception */
	EMU_EVENT_SOFT_INT,	/* INT n, in protected mode */
	EMU_EVENT_SOFT_EXC,	/* INT3 or INTO */
	EMU_EVENT_PRIV_EXC,	/* INT1 (ICEBP) */
};

/**
 * struct emu_exception - what to raise
 * @kind: enum emu_event_kind
 * @vector: 0..255
 * @len: instruction length, for the kinds other than EMU_EVENT_EXCEPTION
 * @has_error: @error is pushed
 * @has_payload: @payload is not yet in its register
 * @error: error code
 * @payload: #PF: the address for CR2; #DB: the bits that enter DR6
 */
struct emu_exception {
	u8 kind;
	u8 vector;
	u8 len;
	bool has_error;
	bool has_payload;
	u32 error;
	u64 payload;
};

/* Access flags of read, write, cmpxchg and probe */
#define EMU_ACC_SYSTEM \
	0x1 /* implicit supervisor access (descriptor tables, TSS), else by struct emu.cpl */
#define EMU_ACC_WRITE	0x2	/* read, probe: a write follows, so a page fault reports a write */

/*
 * struct emu.features: what the guest's CPUID offers, where it changes the meaning of bytes or
 * makes them undefined
 */
#define EMU_FEAT_MOVBE		0x0001
#define EMU_FEAT_POPCNT		0x0002
#define EMU_FEAT_LZCNT		0x0004	/* else F3 0F BD is BSR */
#define EMU_FEAT_BMI1		0x0008	/* TZCNT; else F3 0F BC is BSF */
#define EMU_FEAT_RDTSCP		0x0010
#define EMU_FEAT_CX16		0x0020
#define EMU_FEAT_AVX		0x0040
#define EMU_FEAT_FSGSBASE	0x0080
#define EMU_FEAT_BMI2		0x0100
#define EMU_FEAT_RDPID		0x0200
#define EMU_FEAT_ALTMOVCR8	0x0400	/* LOCK MOV CR0 is MOV CR8 */
#define EMU_FEAT_LAHF_LM	0x0800	/* LAHF and SAHF in 64-bit mode */
#define EMU_FEAT_SSE		0x1000	/* SSE and SSE2 */
#define EMU_FEAT_SSE3		0x2000
#define EMU_FEAT_SSE4_1		0x4000
#define EMU_FEAT_AVX2		0x8000

/* struct emu.shadow: interrupts that the instruction holds off for one more instruction */
enum emu_shadow { EMU_SHADOW_NONE, EMU_SHADOW_STI, EMU_SHADOW_MOV_SS };

/* What a task switch was asked for by */
enum emu_task_reason { EMU_TASK_CALL, EMU_TASK_IRET, EMU_TASK_JMP, EMU_TASK_GATE };

struct emu;

/**
 * struct emu_ops - the machine around the emulator; every member is required
 * @prepare: the instruction is decoded: fill what the caller left out of @regs. Decoding looks at
 *	CS, RIP, RFLAGS, CR0, CR4, EFER and the privilege level only; the rest may wait until the
 *	instruction is known. Anything but EMU_OK ends the emulation
 * @fetch: read instruction bytes of one page at a linear address, as an instruction fetch at
 *	struct emu.cpl
 * @read: read memory at a linear address; the range may cross a page boundary, never the end
 *	of the linear space
 * @write: write memory; the whole range is checked before a byte is written
 * @cmpxchg: write @new if memory holds @old, atomically; else EMU_RETRY. 1, 2, 4, 8 or 16 bytes
 * @probe: would an access of these flags fault? Reads and writes nothing, MMIO is EMU_OK
 * @in: read a port; the I/O permission map has been consulted
 * @out: write a port
 * @set_cr: MOV to CR0, CR3, CR4 or CR8, CLTS, LMSW, task switch: check, make it so, and put
 *	what the register then holds into @regs.crN (and EFER.LMA into @regs.efer)
 * @task: an instruction is to switch tasks; nothing has been done yet. Anything but EMU_OK ends the
 *	emulation
 * @get_dr: read DR0..DR3, DR6 or DR7; general-detect and privilege have been checked, DR4
 *	and DR5 resolved
 * @set_dr: write a debug register
 * @rdmsr: RDMSR, and TSC_AUX and FS/GS bases where an instruction reads them
 * @wrmsr: WRMSR
 * @cpuid: leaf in @regs[0], subleaf in @regs[2]; out EAX EBX ECX EDX
 * @rdtsc: the guest's TSC
 * @rdpmc: performance counter by ECX
 * @hlt: HLT; RIP has not moved yet
 * @invlpg: INVLPG of a linear address
 * @wbinvd: WBINVD, and INVD
 * @hypercall: VMCALL or VMMCALL (see struct emu.insn); may change struct emu.regs
 * @rsm: RSM: #UD outside system management mode; else struct emu's regs, shadow, next_rip and halt
 *	become the interrupted program's, and resumed is set. EMU_RETRY: shutdown is pending
 * @xsetbv: XSETBV
 * @xgetbv: XGETBV
 * @read_vec: read the low @len bytes of XMM/YMM register
 * @write_vec: write the low @len bytes; @zero clears the rest of the whole register (VEX),
 *	else it stays
 * @read_mmx: read an MMX register
 * @write_mmx: write an MMX register (and set the x87 tags as MMX instructions do)
 * @fnstcw: x87 control word
 * @fnstsw: x87 status word
 *
 * A callback that answers EMU_FAULT has called emu_raise() or emu_raise_pf().
 */
struct emu_ops {
	enum emu_status (*prepare)(struct emu *e);
	enum emu_status (*fetch)(struct emu *e, u64 linear, void *buf, unsigned int len);
	enum emu_status (*read)(struct emu *e, u64 linear, void *buf, unsigned int len,
				unsigned int flags);
	enum emu_status (*write)(struct emu *e, u64 linear, const void *buf, unsigned int len,
				 unsigned int flags);
	enum emu_status (*cmpxchg)(struct emu *e, u64 linear, const void *old, const void *new,
				   unsigned int len, unsigned int flags);
	enum emu_status (*probe)(struct emu *e, u64 linear, unsigned int len, unsigned int flags);
	enum emu_status (*in)(struct emu *e, u16 port, unsigned int size, u32 *val);
	enum emu_status (*out)(struct emu *e, u16 port, unsigned int size, u32 val);
	enum emu_status (*set_cr)(struct emu *e, unsigned int nr, u64 val);
	enum emu_status (*task)(struct emu *e, enum emu_task_reason reason);
	enum emu_status (*get_dr)(struct emu *e, unsigned int nr, u64 *val);
	enum emu_status (*set_dr)(struct emu *e, unsigned int nr, u64 val);
	enum emu_status (*rdmsr)(struct emu *e, u32 index, u64 *val);
	enum emu_status (*wrmsr)(struct emu *e, u32 index, u64 val);
	enum emu_status (*cpuid)(struct emu *e, u32 regs[4]);
	enum emu_status (*rdtsc)(struct emu *e, u64 *val);
	enum emu_status (*rdpmc)(struct emu *e, u32 index, u64 *val);
	enum emu_status (*hlt)(struct emu *e);
	enum emu_status (*invlpg)(struct emu *e, u64 linear);
	enum emu_status (*wbinvd)(struct emu *e);
	enum emu_status (*hypercall)(struct emu *e);
	enum emu_status (*rsm)(struct emu *e);
	enum emu_status (*xsetbv)(struct emu *e, u32 index, u64 val);
	enum emu_status (*xgetbv)(struct emu *e, u32 index, u64 *val);
	enum emu_status (*read_vec)(struct emu *e, unsigned int reg, void *buf, unsigned int len);
	enum emu_status (*write_vec)(struct emu *e, unsigned int reg, const void *buf,
				     unsigned int len, bool zero);
	enum emu_status (*read_mmx)(struct emu *e, unsigned int reg, u64 *val);
	enum emu_status (*write_mmx)(struct emu *e, unsigned int reg, u64 val);
	enum emu_status (*fnstcw)(struct emu *e, u16 *val);
	enum emu_status (*fnstsw)(struct emu *e, u16 *val);
};

/**
 * struct emu - one emulation
 * @ops: the machine
 * @ctx: for @ops
 * @regs: in: before the instruction; out: after it, on EMU_OK (and if @committed)
 * @features: EMU_FEAT_*
 * @amd: behave as an AMD CPU where the vendors differ, else as Intel
 * @cpl: current privilege level, in and out
 * @nbytes: in: how many of @bytes the caller already has (0: they are fetched); out: how
 *	many there are
 * @bytes: the instruction's bytes
 * @shadow: out: enum emu_shadow
 * @repeat: out: a repeated string instruction has iterations left; RIP is still at it, and
 *	RF is set
 * @unmask_nmi: out, with EMU_OK: IRET, NMIs are no longer held off
 * @resumed: out, with EMU_OK: RSM, and all registers are new ones
 * @halt: out, with @resumed: the program was in the halt state, and goes back there
 * @committed: out, with EMU_FAULT of emulate_task_switch(), or of an instruction that
 *	switches tasks: the fault belongs to the new task, whose registers are in @regs and must
 *	be committed before it is raised
 * @exc: out, with EMU_FAULT
 * @insn: out: the decoded instruction
 * @mode: internal: enum emu_mode
 * @ea_seg: internal: segment of the memory operand
 * @ea: internal: offset of the memory operand
 * @linear: internal: linear address of the memory operand being modified
 * @next_rip: internal: where execution goes on
 *
 * The caller fills the members from @ops to @bytes and the starting @regs; nothing needs to be
 * cleared.
 */
struct emu {
	const struct emu_ops *ops;
	void *ctx;
	struct emu_regs regs;
	u32 features;
	bool amd;
	u8 cpl;
	u8 nbytes;
	u8 bytes[EMU_MAX_INSN];
	u8 shadow;
	bool repeat;
	bool unmask_nmi;
	bool resumed;
	bool halt;
	bool committed;
	struct emu_exception exc;
	struct emu_insn insn;
	u8 mode;
	u8 ea_seg;
	u64 ea;
	u64 linear;
	u64 next_rip;
};

/**
 * emulate - execute one instruction, or one iteration of a repeated string instruction
 * @e: the emulation
 *
 * Hardware breakpoints and the single-step trap are the caller's: a trap is due after EMU_OK if
 * TF was set before, unless
 * @shadow is EMU_SHADOW_MOV_SS.
 *
 * Return: EMU_OK with @e->regs changed; anything else leaves @e->regs as they were (EMU_FAULT:
 * unless @e->committed).
 */
enum emu_status emulate(struct emu *e);

/**
 * emulate_task_switch - switch to another task, after the CPU's (or our own) privilege checks on
 * the gate or TSS descriptor
 * @e: the emulation; @e->regs.rip is where the old task is to resume (after the instruction,
 *	where one caused it)
 * @selector: of the new TSS
 * @reason: what asked for it
 * @has_error: push @error on the new task's stack
 * @error: error code of the exception that went through a task gate
 *
 * See the AMD APM, "Task-Management Resources" and "Switching Tasks", and the Intel SDM, "Task
 * Switching". EMU_IO after the switch is committed becomes EMU_UNHANDLEABLE.
 *
 * Return: as emulate().
 */
enum emu_status emulate_task_switch(struct emu *e, u16 selector, enum emu_task_reason reason,
				    bool has_error, u32 error);

/**
 * struct emu_port - an I/O instruction
 * @port: its port
 * @size: bytes of one access
 * @asize: of INS and OUTS: address size in bytes; else 0
 * @in: IN, INS
 * @rep: INS, OUTS with a REP prefix
 */
struct emu_port {
	u16 port;
	u8 size;
	u8 asize;
	bool in;
	bool rep;
};

/**
 * emu_port_insn - is the decoded instruction IN, OUT, INS or OUTS?
 * @e: the emulation, after EMU_OK
 * @p: filled in if so
 *
 * Return: true if it is.
 */
bool emu_port_insn(const struct emu *e, struct emu_port *p);

/**
 * emu_mode - how instructions are read now
 * @regs: registers
 *
 * Return: enum emu_mode.
 */
enum emu_mode emu_mode(const struct emu_regs *regs);

/**
 * emu_raise - note an exception
 * @e: the emulation
 * @vector: 0..31
 * @has_error: @error is pushed
 * @error: error code
 *
 * Return: EMU_FAULT.
 */
enum emu_status emu_raise(struct emu *e, u8 vector, bool has_error, u32 error);

/**
 * emu_raise_pf - note a page fault
 * @e: the emulation
 * @linear: address for CR2
 * @error: error code
 *
 * Return: EMU_FAULT.
 */
enum emu_status emu_raise_pf(struct emu *e, u64 linear, u32 error);

#endif

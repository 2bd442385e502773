/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The state save area of system management mode: what an SMI stores there and RSM loads from there.
 * Pure.
 *
 * Two maps: the 64-bit one of the APM ("SMRAM State-Save Area") for guests whose CPUID has long
 * mode, the 32-bit one of the SDM ("SMRAM State Save Map") for the others. Both end at SMBASE +
 * 0xffff and have the revision identifier at the same place. What the manuals leave reserved (the
 * hidden parts of segments in the 32-bit map, the interrupt shadow in both) is where VMMs of this
 * ABI have it, so that a vCPU can be moved while it is in SMM; what the 32-bit map needs besides,
 * to restart an I/O instruction, is where it leaves room.
 */
#ifndef STRATA_SMRAM_H
#define STRATA_SMRAM_H

#include <linux/types.h>

#include "../cpu/cr_check.h"

#define SMRAM_SAVE	0xfe00		/* from SMBASE */
#define SMRAM_SIZE	0x200
#define SMRAM_ENTRY	0x8000		/* the handler's first instruction */
#define SMBASE_RESET	0x30000

/* Revision identifiers: SMBASE can be relocated (bit 17), I/O instructions restarted (bit 16) */
#define SMRAM_REVISION_32	0x00030000
#define SMRAM_REVISION_64	0x00030064

enum smram_map { SMRAM_MAP_32, SMRAM_MAP_64 };

/* Bits of struct smram_seg.attrib: those of a descriptor, from its type on */
#define SMRAM_SEG_TYPE		0x000f
#define SMRAM_SEG_S		0x0010
#define SMRAM_SEG_DPL		0x0060
#define SMRAM_SEG_DPL_SHIFT	5
#define SMRAM_SEG_P		0x0080
#define SMRAM_SEG_AVL		0x1000
#define SMRAM_SEG_L		0x2000
#define SMRAM_SEG_DB		0x4000
#define SMRAM_SEG_G		0x8000

/* Segments by the number the CPU encodes them with, LDTR, TR */
enum {
	SMRAM_ES,
	SMRAM_CS,
	SMRAM_SS,
	SMRAM_DS,
	SMRAM_FS,
	SMRAM_GS,
	SMRAM_LDTR,
	SMRAM_TR,
	SMRAM_NR_SEGS
};

/* Interrupt shadow, as KVM_GET_VCPU_EVENTS has it */
#define SMRAM_SHADOW_MOV_SS	1
#define SMRAM_SHADOW_STI	2

/* Bits of struct smram_io.flags, and of the I/O instruction restart dword */
#define SMRAM_IO_IN		0x01
#define SMRAM_IO_VALID		0x02
#define SMRAM_IO_STRING		0x04
#define SMRAM_IO_REP		0x08
#define SMRAM_IO_SIZE_SHIFT	4	/* a bit each for 1, 2 and 4 bytes */
#define SMRAM_IO_TF		0x800	/* of the dword only */

/**
 * struct smram_io - the I/O instruction at whose end an SMI is taken
 * @port: the port
 * @flags: SMRAM_IO_*; 0: there is none
 * @len: its length; 0 while RIP is still at it, with iterations left
 * @asize: of a string instruction: address size in bytes
 */
struct smram_io {
	u16 port;
	u8 flags;
	u8 len;
	u8 asize;
};

/**
 * struct smram_seg - a segment register with its hidden part
 * @base: linear base
 * @limit: last offset in bytes, granularity applied
 * @selector: visible part
 * @attrib: SMRAM_SEG_*; without P the segment is unusable
 */
struct smram_seg {
	u64 base;
	u32 limit;
	u16 selector;
	u16 attrib;
};

/* struct smram_table - GDTR or IDTR */
struct smram_table {
	u64 base;
	u16 limit;
};

/**
 * struct smram_state - what an SMI stores
 * @gpr: by encoding: RAX RCX RDX RBX RSP RBP RSI RDI R8..R15
 * @rip: where the interrupted program goes on
 * @rflags: RFLAGS
 * @cr0: CR0
 * @cr3: CR3
 * @cr4: CR4
 * @efer: EFER; 64-bit map only
 * @dr6: DR6
 * @dr7: DR7
 * @seg: SMRAM_ES..SMRAM_TR
 * @gdtr: GDTR
 * @idtr: IDTR
 * @svm_guest: the SMI interrupted a guest of this guest's (SVM, 64-bit map only)
 * @svm_block: then: where its control block is
 * @smbase: RSM moves SMRAM here
 * @revision: SMRAM_REVISION_*; RSM does not look at it
 * @auto_halt: the SMI came in HLT; RSM goes back there if it is still set
 * @io_restart: stored as 0; the handler's 0xff has RSM restart the I/O instruction, if there is one
 * @io_dword: that instruction; 64-bit map
 * @io_state: the same; 32-bit map. An I/O state field, whose own place is of later revisions
 * @io_rip: RIP before it
 * @io_rcx: RCX before it
 * @io_rsi: RSI before it
 * @io_rdi: RDI before it
 * @shadow: SMRAM_SHADOW_*
 */
struct smram_state {
	u64 gpr[16];
	u64 rip;
	u64 rflags;
	u64 cr0;
	u64 cr3;
	u64 cr4;
	u64 efer;
	u64 dr6;
	u64 dr7;
	struct smram_seg seg[SMRAM_NR_SEGS];
	struct smram_table gdtr;
	struct smram_table idtr;
	u64 svm_guest;
	u64 svm_block;
	u32 smbase;
	u32 revision;
	u16 auto_halt;
	u16 io_restart;
	u32 io_dword;
	u32 io_state;
	u64 io_rip;
	u64 io_rcx;
	u64 io_rsi;
	u64 io_rdi;
	u8 shadow;
};

/**
 * smram_pack() - the save area as it is in memory
 * @s: the state; @revision is not looked at
 * @map: which map
 * @image: SMRAM_SIZE bytes, filled in; reserved bytes are 0
 */
void smram_pack(const struct smram_state *s, enum smram_map map, u8 *image);

/**
 * smram_unpack() - the contrary
 * @s: filled in; what the map has no place for is 0
 * @map: which map
 * @image: SMRAM_SIZE bytes
 *
 * Reserved bits that a CPU does not store are dropped: of RFLAGS, and upper halves of the bases of
 * CS, DS, ES and SS.
 */
void smram_unpack(struct smram_state *s, enum smram_map map, const u8 *image);

/**
 * smram_map_of() - the map that a save area was stored in
 * @long_mode: the guest's CPUID has long mode
 * @image: the save area
 *
 * A VMM may run long mode on a vCPU whose CPUID does not have it: then the revision identifier
 * tells.
 */
enum smram_map smram_map_of(bool long_mode, const u8 *image);

/**
 * smram_io_store() - the SMI is taken at the end of an I/O instruction
 * @s: the state after it; what RSM needs to restart it is filled in
 * @io: the instruction
 * @wide: RIP has 64 bits
 * @immediate: the port is in the instruction
 *
 * APM "I/O Instruction Restart", SDM "I/O State Implementation", "I/O Instruction Restart". What a
 * 32-bit address size has cleared, upper halves of RCX, RSI and RDI, is not looked at by the
 * instruction, and stays 0.
 */
void smram_io_store(struct smram_state *s, const struct smram_io *io, bool wide, bool immediate);

/**
 * smram_io_restart() - RSM: does the I/O instruction run again?
 * @s: the state, unpacked; if so, it becomes the one before the instruction, whose breakpoint has
 *	been seen to (RF)
 */
bool smram_io_restart(struct smram_state *s);

/**
 * enum smram_fault - the check that RSM failed
 * @SMRAM_OK: none
 * @SMRAM_CR0: reserved bits, PG without PE, NW without CD
 * @SMRAM_CR3: beyond the physical address width
 * @SMRAM_CR4: reserved bits
 * @SMRAM_EFER: reserved bits, or LMA is not LME and PG
 * @SMRAM_LONG: long mode without PAE, PCIDE outside of it, a 64-bit CS with D set
 * @SMRAM_DR: upper halves of DR6 and DR7
 * @SMRAM_RFLAGS: virtual-8086 mode in long mode or real mode
 * @SMRAM_RIP: not canonical, or beyond 32 bits where CS is not a 64-bit segment
 * @SMRAM_BASE: a base is not canonical
 * @SMRAM_SEGMENT: a segment register holds what none of its kind can
 * @SMRAM_NESTED: back to a guest's guest without SVM, or whose control block is no page
 */
enum smram_fault {
	SMRAM_OK,
	SMRAM_CR0,
	SMRAM_CR3,
	SMRAM_CR4,
	SMRAM_EFER,
	SMRAM_LONG,
	SMRAM_DR,
	SMRAM_RFLAGS,
	SMRAM_RIP,
	SMRAM_BASE,
	SMRAM_SEGMENT,
	SMRAM_NESTED,
};

/**
 * smram_check() - may RSM load this?
 * @s: the state, unpacked
 * @l: what the guest's CPUID allows
 *
 * APM "Leaving SMM", SDM "Exiting From SMM" and RSM: state that the processor finds invalid shuts
 * it down.
 *
 * Return: the first check that fails, SMRAM_OK if none does.
 */
enum smram_fault smram_check(const struct smram_state *s, const struct cr_limits *l);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Accesses of one instruction that userspace serves.
 *
 * The emulator runs an instruction on a copy of the registers. An access that only userspace can
 * serve ends the attempt; KVM_RUN returns, and the next KVM_RUN executes the same instruction again
 * from the start: accesses in the log are replayed, not repeated. So until the instruction is
 * complete, every getter shows the state before it.
 */
#ifndef STRATA_X86_IO_H
#define STRATA_X86_IO_H

#include "smm/smram.h"

#include <linux/types.h>

#define IO_LOG_MAX	24
/* An instruction that is left to the CPU so many times in a row is one that it cannot execute. */
#define IO_LEFT_MAX	64

/**
 * struct io_access - one access that is done
 * @addr: guest physical address, or port
 * @len: 1..8 bytes
 * @write: written, else read
 * @pio: a port
 * @data: what was read
 */
struct io_access {
	u64 addr;
	u8 len;
	bool write;
	bool pio;
	u8 data[8];
};

/*
 * What the next KVM_RUN completes. IO_COMMIT: the emulation is over, vcpu->emu holds its result.
 * IO_PORT_OUT: only the single-step trap behind an OUT is left.
 */
enum io_kind { IO_NONE, IO_EMULATE, IO_COMMIT, IO_PORT_IN, IO_PORT_OUT, IO_RDMSR, IO_WRMSR };

/**
 * struct io_last - an I/O instruction that has just completed
 * @io: for the save area of an SMI that is taken before the next instruction; flags 0: there is
 *	none
 * @user: set by userspace since the last run: @rip is still to come
 * @rip: RIP behind it
 *
 * An OUT that userspace sees leaves one, as the SMI may be its answer; other instructions do if an
 * SMI waits when they complete. It ends with the next entry.
 */
struct io_last {
	struct smram_io io;
	bool user;
	unsigned long rip;
};

/**
 * struct vcpu_io - the instruction in progress; owned by io.c, (v)
 * @kind: what the next KVM_RUN completes
 * @nr: entries of @log that are done
 * @pos: replay position
 * @waiting: @log[@nr] was handed to userspace
 * @size: of an IO_PORT_IN, in bytes
 * @rip: where the instruction is, to notice that userspace moved on
 * @port: its port
 * @hinted: @hint_gpa was the operand's address
 * @memory_only: L2's, for an access to memory: see emu_memory_ops
 * @hint_gpa: where the nested page fault was, 0 if there was none
 * @rflags: of IO_COMMIT: before the instruction
 * @left: times in a row that the instruction at @left_rip was left to the CPU
 * @left_at: count of exits at the last time
 * @left_rip: where it is
 * @last: the instruction that is over
 * @log: done accesses, in order
 */
struct vcpu_io {
	u8 kind;
	u8 nr;
	u8 pos;
	bool waiting;
	u8 size;
	bool hinted;
	bool memory_only;
	u16 port;
	unsigned long rip;
	u64 hint_gpa;
	unsigned long rflags;
	unsigned int left;
	u64 left_at;
	unsigned long left_rip;
	struct io_last last;
	struct io_access log[IO_LOG_MAX];
};

#endif

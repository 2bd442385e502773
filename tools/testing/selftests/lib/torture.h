/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest programs whose every step is known, run undisturbed and then with the vCPU saved and
 * restored at stops: they must tell the same.
 *
 * A program talks to the host through ports: out32(PORT_ACT, ...) asks for something to happen
 * right there, other accesses are logged.
 */
#ifndef STRATA_SELFTEST_TORTURE_H
#define STRATA_SELFTEST_TORTURE_H

#include "cpu.h"
#include "state.h"

#define PORT_ACT	0x710
#define PORT_STRING	0x720	/* for INS and OUTS: these show the state before the instruction */
#define MMIO_BASE	0x20000000ull
#define MSR_UNKNOWN	0x4b564dffu	/* userspace serves it; the next one fails */

/* What the host does at an OUT to PORT_ACT; the argument is in the low byte. */
enum torture_act {
	ACT_DROP	= 0x100,	/* nested mappings of pages: a mask of DROP_* */
	ACT_SLOTS	= 0x200,	/* the memory slot goes and comes back */
	ACT_INTERRUPT	= 0x300,	/* KVM_INTERRUPT, whatever IF says (strata keeps it) */
	ACT_WINDOW	= 0x400,	/* KVM_INTERRUPT once userspace is told that there is a window */
	ACT_NMI		= 0x500,	/* so many NMIs */
	ACT_WAKE	= 0x600,	/* KVM_INTERRUPT at the next HLT */
	ACT_LINE	= 0x700,	/* KVM_IRQ_LINE: GSI, with 0x80 up, then down */
	ACT_MSI		= 0x800,	/* KVM_SIGNAL_MSI to APIC 0 */
	ACT_SMI		= 0x900,	/* KVM_SMI */
	ACT_NEXT	= 0xa00,	/* vCPU runs next, up to its own ACT_NEXT */
	ACT_MASK	= 0xff00,
};

struct program {
	const char *name;
	struct vm_config config;	/* @each is the runner's to set */
	void (*setup)(struct vm *vm);
	const char *(*unfit)(void);	/* why it cannot run on this host, NULL if it can; may be NULL */
};

extern const struct program programs[];
extern const unsigned int nr_programs;
/* Those whose guest is a hypervisor; programs_nested.c */
extern const struct program nested_programs[];
extern const unsigned int nr_nested_programs;

/* False, with the reason printed, if it cannot run on this host. */
bool program_fits(const struct program *program);

struct log_entry {
	u32 kind;
	u64 addr, data;
};

#define LOG_MAX 4096

struct run_log {
	unsigned int n;
	struct log_entry entry[LOG_MAX];
};

/* Exit kinds (rows) and queue states (columns) met */
#define COVER_ROWS 192
#define COVER_USER	0x10000		/* of a row's kind: exit to userspace */
#define COVER_L2	0x20000		/* L2 ran */

enum cover_column {
	COL_IDLE, COL_INTERRUPT, COL_NMI, COL_EXCEPTION, COL_SOFT, COL_PENDING, COL_STASH, COL_NMI_PENDING, COL_MASKED, COL_HELD,
	COL_TRIPLE, COL_SHADOW, COL_SMI, COL_SMM, COL_START, COL_L1S, NR_COLS
};

struct coverage {
	unsigned int rows;
	u32 kind[COVER_ROWS];
	u64 count[COVER_ROWS][NR_COLS];
};

/* Every event that a program's handlers see, in the guest's memory */
struct trace_entry {
	u64 vector, error, rip, rflags, rsp, cr2, dr6;
};

#define TRACE_MAX 512

struct trace {
	u64 n;
	struct trace_entry entry[TRACE_MAX];
};

extern volatile struct trace trace;

/*
 * A program on its VMs. @origin owns the memory; @live are restored into by turns; @vm is the one
 * that runs.
 */
struct bench {
	const struct program *program;
	struct vm_config config;
	struct vm *origin, *live[2], *vm;
	unsigned int cpu;		/* the vCPU that runs; the others wait at their ACT_NEXT */
	u32 kind;			/* of its last exit */
	bool fresh;
	struct ram_image ram, expected_ram;	/* at the start, and at the end of the undisturbed run */
	struct vm_state *birth, *image, *got;
	struct run_log *expected, *log;
	u64 expected_digest;
	struct trace expected_trace;
	unsigned int mark;		/* where the instruction in progress began to log */
	u64 mark_regs;
	u8 window, wake;
	unsigned int stuck;
	u64 stuck_regs;
	bool signals;
};

struct torture {
	u64 seed;
	u64 points, fresh_points, repeats, stops, runs, second_tries, mismatches;
	u64 wanted, wanted_fresh;
	bool observe;			/* stop everywhere, save nothing */
	bool hunt;			/* points in cells that have none, and nowhere else: up to there it is as when observed */
	struct coverage *cover;
};

struct bench *bench_open(const struct program *program, bool each);
void bench_close(struct bench *b);
/* One run from the start; false if it ended differently from the undisturbed one. */
bool bench_run(struct bench *b, struct torture *t);

/* The columns of a vCPU, a mask */
u32 cover_columns(const struct kvm_vcpu_events *e);
void cover_note(struct coverage *c, u32 kind, u32 columns);
/* This stop would be the first in a cell. */
bool cover_lacks(const struct coverage *c, u32 kind, u32 columns);
void cover_print(const struct coverage *c);
/*
 * Cells of both @reached that @c lacks, other than those of exits that come when they like; with
 * @report each is a failure.
 */
unsigned int cover_missing(const struct coverage reached[2], const struct coverage *c, bool report);

#endif

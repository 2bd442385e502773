/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The walk of a guest's page tables as a function of nothing but its arguments (AMD APM vol. 2
 * "Page Translation and Protection", Intel SDM vol. 3 "Paging"). No kernel header beyond types and
 * bits: the unit suite links it too.
 */
#ifndef STRATA_WALK_PURE_H
#define STRATA_WALK_PURE_H

#include <linux/bits.h>
#include <linux/types.h>

/* Access bits, in the #PF error code's positions */
#define ACCESS_PRESENT	BIT(0)	/* only as error code: protection violation */
#define ACCESS_WRITE	BIT(1)
#define ACCESS_USER	BIT(2)
#define ACCESS_RSVD	BIT(3)	/* only as error code */
#define ACCESS_FETCH	BIT(4)
#define ACCESS_PKEY	BIT(5)	/* only as error code */
#define ACCESS_IMPLICIT	BIT(31)	/* implicit supervisor access (descriptor tables): EFLAGS.AC does not override SMAP */

/**
 * struct walk - outcome of a walk of the guest's page tables
 * @gpa: guest physical address
 * @level: size of the mapping: 1 (4K), 2 (2M; 4M with 32-bit paging), 3 (1G); 1 without paging
 * @writable: writing is allowed in the mode of the access (user, or supervisor with CR0.WP as it
 *	is)
 * @user: user mode may access the page
 * @exec: no NX bit on the way
 * @error: #PF error code if the walk failed
 */
struct walk {
	u64 gpa;
	u8 level;
	bool writable, user, exec;
	u32 error;
};

enum walk_paging { WALK_NO_PAGING, WALK_32BIT, WALK_PAE, WALK_LONG };

#define WALK_MAX_LEVELS	5

/**
 * struct walk_mode - what control registers and CPUID say about paging
 * @paging: enum walk_paging
 * @levels: tables walked; PAE: 2, as the first level is in the PDPTRs
 * @wp: CR0.WP
 * @smep: CR4.SMEP
 * @smap: CR4.SMAP
 * @pke: CR4.PKE, long mode only
 * @nx: EFER.NXE, not with 32-bit paging
 * @pse: CR4.PSE
 * @addr: physical address bits a table entry may hold
 * @rsvd: reserved bits of an entry that points to a table, by level
 * @rsvd_leaf: reserved bits of a leaf, by level; ~0 where there can be none
 */
struct walk_mode {
	u8 paging;
	u8 levels;
	bool wp, smep, smap, pke, nx, pse;
	u64 addr;
	u64 rsvd[WALK_MAX_LEVELS + 1];
	u64 rsvd_leaf[WALK_MAX_LEVELS + 1];
};

/**
 * struct walk_cpuid - what CPUID says about paging
 * @maxphyaddr: guest's physical address width
 * @gbpages: 1G pages
 * @amd: bit 8 of the two top levels is reserved
 */
struct walk_cpuid {
	u8 maxphyaddr;
	bool gbpages;
	bool amd;
};

void walk_mode_init(struct walk_mode *m, unsigned long cr0, unsigned long cr4, u64 efer,
		    const struct walk_cpuid *cpuid);

/**
 * struct walk_in - one walk
 * @linear: linear address, canonical
 * @access: ACCESS_WRITE, ACCESS_USER, ACCESS_FETCH, ACCESS_IMPLICIT
 * @cr3: CR3
 * @pdptr: PAE: the four pointers
 * @pkru: PKRU, used with @walk_mode.pke
 * @ac: EFLAGS.AC
 */
struct walk_in {
	u64 linear;
	u32 access;
	u64 cr3;
	const u64 *pdptr;
	u32 pkru;
	bool ac;
};

/**
 * struct walk_ops - guest memory, by guest physical address
 * @read: an entry of @size (4 or 8) bytes. 0, -EFAULT, or a value above 1 that ends the walk and is
 *	handed on
 * @cmpxchg: set A and D bits. 0, -EAGAIN (not @old any more: the walk starts again), -EFAULT, or as
 *	@read. NULL: leave the tables alone
 */
struct walk_ops {
	int (*read)(void *ctx, u64 gpa, u64 *entry, unsigned int size);
	int (*cmpxchg)(void *ctx, u64 gpa, u64 old, u64 new, unsigned int size);
};

/**
 * struct walk_step - one level's place in a walk
 * @gpa: where the entry is
 * @entry: its value, with the A and D that the walk set
 */
struct walk_step {
	u64 gpa;
	u64 entry;
};

/**
 * struct walk_path - the entries that a walk used
 * @step: by level, from @top down to @level
 * @all: AND of the entries: P, W and U of the whole way
 * @any: OR of them: NX
 * @top: level of the root
 * @level: level of the leaf
 */
struct walk_path {
	struct walk_step step[WALK_MAX_LEVELS + 1];
	u64 all;
	u64 any;
	int top;
	int level;
};

/**
 * walk_tables() - translate
 * @m: mode
 * @in: what
 * @ops: guest memory
 * @ctx: handed to @ops
 * @w: outcome
 *
 * A bits on the way are set only when the access is allowed.
 * Return: 0, 1 (#PF, @w->error), -EFAULT, or what @ops handed on.
 */
int walk_tables(const struct walk_mode *m, const struct walk_in *in, const struct walk_ops *ops,
		void *ctx, struct walk *w);

/*
 * The same, with the entries; only with paging, and only if the return is 0. PAE: without the
 * pointers.
 */
int walk_tables_path(const struct walk_mode *m, const struct walk_in *in,
		     const struct walk_ops *ops, void *ctx, struct walk *w, struct walk_path *path);

/* Bits that the error code of a fault without any entry has, of a user or supervisor access */
u32 walk_access_error(const struct walk_mode *m, u32 access);

/* CPUID is userspace's: a width that no CPU has is taken for the nearest one. */
static inline unsigned int walk_width(u8 maxphyaddr)
{
	return maxphyaddr < 32 ? 32 : maxphyaddr > 52 ? 52 : maxphyaddr;
}

/* Reserved bits of PAE's four pointers, where they are present */
static inline u64 walk_pdptr_rsvd(u8 maxphyaddr)
{
	return ~GENMASK_ULL(walk_width(maxphyaddr) - 1, 0) | GENMASK_ULL(8, 5) | GENMASK_ULL(2, 1);
}

#endif

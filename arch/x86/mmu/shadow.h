/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The shadow: tables for the CPU that do L1's nested translation and the VM's own (tdp.h) in one
 * step.
 *
 * A shadow page stands for one of L1's tables (or a part of it), or for a piece of a large page of
 * L1's that the host maps in smaller ones, or for the levels above L1's root. It is found by its
 * whole role and shared by all vCPUs whose L1 uses that table in that way.
 *
 * What the pages hold:
 *  - A leaf never allows what the VM's own leaf of the same frame of L1's does not: whoever takes
 *    from that takes from the shadow too (shadow_zap() and others), found by the frame. So no
 *    translation of L2's outlives one of L1's, in the tables or in a TLB.
 *  - An entry shows what L1's table said at some time not before the generation of its page
 *    (@valid), and a link leads only to a page whose generation is not older: as in a CPU's walk,
 *    what is below was read after what led there. Each comparison of a page with L1's table is a
 *    generation of its
 *    own: what differs is dropped, links are cut. A flush by L1 compares a few pages, from the root
 *    on; the rest when a fault comes to them.
 *  - What L1 has changed in a table before it made it reachable needs no flush. So the page behind
 *    a new link is compared, too.
 *
 * Everything is under vm_shadow.lock, taken inside vm->mmu_lock (held shared at least, which keeps
 * the VM's own leaves; A bits are looked at without it). Pages that are out of use are freed after
 * a flush of all TLBs. The number of pages is limited; the least recently used ones go.
 */
#ifndef STRATA_SHADOW_H
#define STRATA_SHADOW_H

#include "tdp.h"

#include <linux/bitmap.h>
#include <linux/spinlock.h>
#include <linux/xarray.h>

enum shadow_kind {
	SHADOW_TABLE,	/* one of L1's tables */
	SHADOW_PIECE,	/* of a large page of L1's: frames in a row */
	SHADOW_TOP,	/* the root, and what else is above L1's own root */
};

/**
 * struct shadow_role - what a shadow page stands for; compared as a whole
 * @base: L1's physical address of the table, its nCR3, or the first byte of the piece
 * @pat: L1's PAT, which gives its entries their memory types; 0 for pieces
 * @kind: enum shadow_kind
 * @level: what its entries are, 1..5
 * @part: 32-bit formats: which part of L1's table
 * @paging: enum walk_paging of L1's tables; 0 for pieces, as the rest
 * @levels: their depth
 * @width: MAXPHYADDR
 * @flags: SHADOW_NX and others
 * @memtype: pieces: index into the host's PAT
 * @as_id: address space of L1's
 * @owner: pages above L1's root: the vCPU, by index plus one. Its flushes must not keep other vCPUs
 *	from getting anywhere.
 */
struct shadow_role {
	u64 base;
	u64 pat;
	u8 kind;
	u8 level;
	u8 part;
	u8 paging;
	u8 levels;
	u8 width;
	u8 flags;
	u8 memtype : 4;
	u8 as_id : 4;
	u64 owner;
};
static_assert(sizeof(struct shadow_role) == 32);

#define SHADOW_NX	BIT(0)	/* EFER.NXE */
#define SHADOW_PSE	BIT(1)	/* CR4.PSE */
#define SHADOW_1G	BIT(2)	/* 1G pages */
#define SHADOW_AMD	BIT(3)	/* AMD's reserved bits */

/*
 * An entry of a shadow page, as a number: the page's @id and the entry's index. Entries that map
 * the same frame of L1's, and links to the same page, are in doubly linked lists of these; 0 ends a
 * list.
 */
struct shadow_chain {
	u32 next;
	u32 prev;
};

/**
 * struct shadow_page - one page
 * @hash: by @role
 * @lru: most recently used first; or waits to be freed
 * @role: what it stands for
 * @table: the page for the CPU
 * @seen: L1's entry that each entry was made from; NULL for pieces
 * @chain: where each entry is listed
 * @id: its number, from 1 on
 * @parents: first of the links to it
 * @links: how many
 * @present: entries present
 * @known: entries not present because they were cut in generation @valid, when L1's table had what
 *	is in @seen
 * @used: how many are present
 * @users: vCPUs that have it as their root
 * @valid: generation, see above; pieces: always the highest
 */
struct shadow_page {
	struct hlist_node hash;
	struct list_head lru;
	struct shadow_role role;
	u64 *table;
	u64 *seen;
	struct shadow_chain *chain;
	u32 id;
	u32 parents;
	u32 links;
	DECLARE_BITMAP(present, TDP_ENTRIES);
	DECLARE_BITMAP(known, TDP_ENTRIES);
	u16 used;
	u32 users;
	u64 valid;
};

#define SHADOW_HASH_BITS	12

/*
 * So many steps are taken, of which few are needed unless others get in the way; then the guest
 * tries itself.
 */
#define SHADOW_TRIES		20

/*
 * Lists of the leaves that map frames of L1's, and how many are in each: by level of the leaf, for
 * 512 leaves each
 */
struct shadow_frames {
	u32 used;
	u32 head[TDP_ENTRIES];
	u16 shares[TDP_ENTRIES];
};

/**
 * struct vm_shadow - all shadow pages of a VM
 * @lock: see above
 * @gen: counts generations
 * @page: by id
 * @free_id: stack of ids not in use
 * @nr: pages in use
 * @max: how many there may be; others only lower it
 * @size: how many ids there are
 * @seed: of the hash
 * @lru: pages
 * @frames: struct shadow_frames, by shadow_frames_index()
 * @hash: pages
 */
struct vm_shadow {
	spinlock_t lock;
	atomic64_t gen;
	struct shadow_page **page;
	u32 *free_id;
	u32 nr;
	u32 max;
	u32 size;
	u32 seed;
	struct list_head lru;
	struct xarray frames;
	struct hlist_head hash[1 << SHADOW_HASH_BITS];
};

static inline struct vm_shadow *vm_shadow(const struct vm *vm)
{
	return smp_load_acquire(&vm->mmu.shadow);
}

/* ---- what the rest of the MMU calls; each does nothing in a VM that has no shadow ---- */

/*
 * The VM's own leaves of these frames are removed, or allow less: so do the shadow's. vm->mmu_lock
 * held; for shadow_protect() exclusively.
 * Return: something was changed.
 */
bool shadow_zap(struct vm *vm, unsigned int as_id, u64 gfn, u64 end);
bool shadow_protect(struct vm *vm, unsigned int as_id, u64 gfn, u64 end);

/* Was one of these frames accessed through the shadow? @clear: forget it. */
bool shadow_age(struct vm *vm, unsigned int as_id, u64 gfn, u64 end, bool clear);

/* The frames have no leaves any more: nor are lists of them kept. No lock held; may sleep. */
void shadow_forget(struct vm *vm, unsigned int as_id, u64 gfn, u64 end);

/*
 * As if L1 had flushed everything: each page is compared with L1's table before it is used again.
 * No lock held.
 */
void shadow_reset(struct vm *vm);

/**
 * shadow_set_limit() - how many pages the VM's shadow may have (KVM_SET_NR_MMU_PAGES)
 * @vm: the machine
 * @nr: pages; what a vCPU in L2 cannot do without is always there. If the shadow is in use already,
 *	it does not grow.
 *
 * Return: 0, -EINVAL.
 */
int shadow_set_limit(struct vm *vm, unsigned long nr);

/* PAT of the host, for the memory types of L1's tables */
extern u64 shadow_host_pat;

/* No vCPU runs any more. */
void shadow_destroy(struct vm *vm);

/* ---- what nested.c calls ---- */

/* Make the VM's shadow if there is none. 0, -ENOMEM. May sleep, srcu held. */
int shadow_create(struct vcpu *v);

/**
 * shadow_set_root() - L1's tables for what follows
 * @v: the vCPU; its vcpu_nested.mode is up to date
 * @base: nCR3's address
 * @pat: L1's PAT
 *
 * The root stays the vCPU's until the next call. Return: 0, -ENOMEM. May sleep.
 */
int shadow_set_root(struct vcpu *v, u64 base, u64 pat);

void shadow_vcpu_destroy(struct vcpu *v);

/* ---- shadow_sync.c ---- */

/*
 * L1 has flushed what is below the vCPU's root. A few tables are compared with L1's at once; the
 * way to the others is cut, and they are compared when a fault comes to them.
 */
void shadow_flush_root(struct vcpu *v);

/*
 * Which bytes of L1's a page shows, and how many bits an entry's index has to lose to be that of
 * L1's entry
 */
unsigned int shadow_table_bytes(const struct shadow_role *r, u64 *gpa, unsigned int *shift);

/*
 * Drop what L1's table does not have any more, where that is at hand. shadow_renew() follows
 * without a pause of the lock. Return: 0; -EFAULT: it cannot be read without sleeping.
 */
int shadow_cut_differences(struct vcpu *v, struct vm_shadow *s, struct shadow_page *sp);

/*
 * ---- between shadow.c, shadow_entry.c, shadow_fault.c and shadow_sync.c; lock held unless said
 * otherwise ----
 */

/* Have pages at hand for one fault, and make room for them. No lock held, may sleep. 0, -ENOMEM. */
int shadow_fill_spare(struct vcpu *v);

/*
 * The list that a leaf of this level at this frame is to be in. No lock held, may sleep. 0,
 * -ENOMEM.
 */
int shadow_prepare_frames(struct vm *vm, unsigned int as_id, u64 gfn, int level);
bool shadow_has_frames(struct vm_shadow *s, unsigned int as_id, u64 gfn, int level);

struct shadow_page *shadow_find(struct vm_shadow *s, const struct shadow_role *role);
struct shadow_page *shadow_add(struct vcpu *v, const struct shadow_role *role, u64 valid);
struct shadow_page *shadow_child(struct vm_shadow *s, const struct shadow_page *sp, unsigned int i);

/* Remove an entry if it is present. */
void shadow_drop(struct vm_shadow *s, struct shadow_page *sp, unsigned int i);
/*
 * The same for a link that is to be made again after the page behind it has been compared; @sp has
 * been.
 */
void shadow_cut(struct vm_shadow *s, struct shadow_page *sp, unsigned int i);
/* Remove all entries of a page, and all links to it. */
void shadow_isolate(struct vm_shadow *s, struct shadow_page *sp);
/*
 * The list that the leaf @i, whose L1 entry is @seen, belongs to; neighbours in a piece have it in
 * common.
 */
struct shadow_frames *shadow_frames_of(struct vm_shadow *s, const struct shadow_page *sp,
				       unsigned int i, u64 seen);
/* Put an entry where none is. A leaf's list of frames is there already: @f. */
void shadow_link(struct vm_shadow *s, struct shadow_page *sp, unsigned int i,
		 struct shadow_page *child, u64 entry, u64 seen);
void shadow_map(struct vm_shadow *s, struct shadow_page *sp, unsigned int i, u64 entry, u64 seen,
		struct shadow_frames *f);
/*
 * The same for @nr leaves of a piece from @first on, where none is yet: as @leaf, if the VM's own
 * leaves @own differ from @like, the one that @leaf was made from, in the frame only
 */
void shadow_map_alike(struct vm_shadow *s, struct shadow_page *sp, unsigned int first,
		      unsigned int nr, const u64 *own, u64 like, u64 leaf, struct shadow_frames *f);

/*
 * Begin a generation with a page, and cut its links. @compared: L1's table has what is left, or
 * there is none. Return: the generation.
 */
u64 shadow_renew(struct vm_shadow *s, struct shadow_page *sp, bool compared);

/* L1's frame that a leaf's L1 entry maps: of the shadow entry @i, whose L1 entry is @seen */
u64 shadow_leaf_gfn(const struct shadow_page *sp, unsigned int i, u64 seen);

#endif

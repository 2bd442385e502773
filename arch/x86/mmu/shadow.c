// SPDX-License-Identifier: GPL-2.0
/*
 * Pages of the shadow: making, finding, giving back; roots, and the shadow as a whole. See
 * shadow.h.
 */
#include "shadow.h"

#include <linux/jhash.h>
#include <linux/moduleparam.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/slab.h>

static unsigned int shadow_pages;
module_param(shadow_pages, uint, 0444);
MODULE_PARM_DESC(shadow_pages, "Limit of shadow pages (12K each) of a VM whose guest is a hypervisor; 0: by the VM's memory");

/* However small the VM: a vCPU in L2 has a root and needs a way down from it. */
#define SHADOW_PAGES_MIN	64
/*
 * However large: who takes all of the VM's memory away goes through all leaves with a spinlock
 * held. It is enough for 512G of L2's in 4K pages.
 */
#define SHADOW_PAGES_MAX	(1U << 18)
#define SHADOW_PAGES_VCPU	(2 * WALK_MAX_LEVELS)

/* Pages that are given back at a time, for one flush */
#define SHADOW_BATCH		32

/* ---- pages ---- */

static struct hlist_head *shadow_bucket(struct vm_shadow *s, const struct shadow_role *role)
{
	return &s->hash[jhash2((const u32 *)role, sizeof(*role) / sizeof(u32), s->seed) >>
			(32 - SHADOW_HASH_BITS)];
}

struct shadow_page *shadow_find(struct vm_shadow *s, const struct shadow_role *role)
{
	struct shadow_page *sp;

	lockdep_assert_held(&s->lock);

	hlist_for_each_entry(sp, shadow_bucket(s, role), hash)
		if (!memcmp(&sp->role, role, sizeof(*role)))
			return sp;
	return NULL;
}

static void page_free(struct shadow_page *sp)
{
	if (!sp)
		return;
	if (sp->table)
		set_page_private(virt_to_page(sp->table), 0);
	free_page((unsigned long)sp->table);
	free_page((unsigned long)sp->seen);
	free_page((unsigned long)sp->chain);
	kfree(sp);
}

static struct shadow_page *page_alloc(void)
{
	struct shadow_page *sp = kzalloc(sizeof(*sp), GFP_KERNEL_ACCOUNT);

	if (!sp)
		return NULL;
	sp->table = (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	sp->seen = (u64 *)__get_free_page(GFP_KERNEL_ACCOUNT);
	sp->chain = (struct shadow_chain *)__get_free_page(GFP_KERNEL_ACCOUNT);
	if (!sp->table || !sp->seen || !sp->chain) {
		page_free(sp);
		return NULL;
	}
	set_page_private(virt_to_page(sp->table), (unsigned long)sp);
	return sp;
}

struct shadow_page *shadow_add(struct vcpu *v, const struct shadow_role *role, u64 valid)
{
	struct vm_shadow *s = vm_shadow(vcpu_vm(v));
	struct vcpu_nested *n = &v->mmu.nested;
	struct shadow_page *sp;

	lockdep_assert_held(&s->lock);

	/* Another vCPU has taken the room that was made for this one. */
	if (s->nr >= READ_ONCE(s->max) || !n->spare_nr)
		return NULL;
	sp = n->spare[--n->spare_nr];
	sp->role = *role;
	sp->valid = valid;
	if (role->kind == SHADOW_PIECE) {
		free_page((unsigned long)sp->seen);
		sp->seen = NULL;
	}
	sp->id = s->free_id[s->nr++];
	s->page[sp->id] = sp;
	list_add(&sp->lru, &s->lru);
	hlist_add_head(&sp->hash, shadow_bucket(s, role));
	return sp;
}

/* Nothing leads to the page or from it any more; it waits on the list for the flush. */
static void page_remove(struct vm_shadow *s, struct shadow_page *sp, struct list_head *out)
{
	shadow_isolate(s, sp);
	hlist_del(&sp->hash);
	s->page[sp->id] = NULL;
	s->free_id[--s->nr] = sp->id;
	list_move(&sp->lru, out);
}

static void pages_free(struct vm *vm, struct list_head *out)
{
	struct shadow_page *sp, *tmp;

	if (list_empty(out))
		return;
	virt_request_all(&vm->virt, VIRT_REQ_TLB_FLUSH);
	list_for_each_entry_safe(sp, tmp, out, lru)
		page_free(sp);
}

/* Take the least recently used pages away, up to @nr. Return: there was one. */
static bool reclaim(struct vm *vm, struct vm_shadow *s, unsigned int nr)
{
	struct shadow_page *sp, *tmp;
	LIST_HEAD(out);
	bool any;

	read_lock(&vm->virt.mmu_lock);
	spin_lock(&s->lock);
	list_for_each_entry_safe_reverse(sp, tmp, &s->lru, lru) {
		if (sp->users)
			continue;
		page_remove(s, sp, &out);
		if (!--nr)
			break;
	}
	spin_unlock(&s->lock);
	read_unlock(&vm->virt.mmu_lock);
	any = !list_empty(&out);
	pages_free(vm, &out);
	return any;
}

int shadow_fill_spare(struct vcpu *v)
{
	struct vcpu_nested *n = &v->mmu.nested;
	struct vm *vm = vcpu_vm(v);
	struct vm_shadow *s = vm_shadow(vm);

	while (n->spare_nr < ARRAY_SIZE(n->spare)) {
		struct shadow_page *sp = page_alloc();

		if (!sp)
			return -ENOMEM;
		n->spare[n->spare_nr++] = sp;
	}
	/* More than once where the limit has fallen */
	while (unlikely(READ_ONCE(s->nr) + ARRAY_SIZE(n->spare) > READ_ONCE(s->max)) &&
	       reclaim(vm, s, SHADOW_BATCH))
		cond_resched();
	return 0;
}

/* ---- roots ---- */

static void root_put(struct vcpu *v)
{
	struct vcpu_nested *n = &v->mmu.nested;

	if (n->root)
		n->root->users--;
	n->root = NULL;
}

static void root_role(struct vcpu *v, u64 base, u64 pat, struct shadow_role *role)
{
	const struct walk_mode *m = &v->mmu.nested.mode.walk;

	*role = (struct shadow_role) {
		.base = base, .pat = pat, .kind = SHADOW_TOP, .level = vcpu_vm(v)->mmu.levels, .paging = m->paging, .levels = m->levels,
		.width = v->cpu.maxphyaddr, .as_id = v->virt.as_id, .owner = v->virt.index + 1,
		.flags = (m->nx ? SHADOW_NX : 0) | (m->pse ? SHADOW_PSE : 0) | (guest_has(v, GUEST_GBPAGES) ? SHADOW_1G : 0) |
			 (guest_has(v, GUEST_AMD) ? SHADOW_AMD : 0),
	};
}

/* False: others have taken the room that was made. */
static bool root_get(struct vcpu *v, const struct shadow_role *role)
{
	struct vcpu_nested *n = &v->mmu.nested;
	struct vm *vm = vcpu_vm(v);
	struct vm_shadow *s = vm_shadow(vm);
	struct shadow_page *sp;

	read_lock(&vm->virt.mmu_lock);
	spin_lock(&s->lock);
	sp = shadow_find(s, role) ?: shadow_add(v, role, atomic64_read(&s->gen));
	if (sp) {
		root_put(v);
		sp->users++;
		n->root = sp;
	}
	spin_unlock(&s->lock);
	read_unlock(&vm->virt.mmu_lock);
	return sp;
}

int shadow_set_root(struct vcpu *v, u64 base, u64 pat)
{
	struct vcpu_nested *n = &v->mmu.nested;
	struct shadow_role role;
	int tries;

	root_role(v, base, pat, &role);
	if (n->root && !memcmp(&n->root->role, &role, sizeof(role)))
		return 0;
	for (tries = 0; tries < SHADOW_TRIES; tries++) {
		if (shadow_fill_spare(v))
			return -ENOMEM;
		if (root_get(v, &role))
			return 0;
	}
	return -ENOMEM;
}

void shadow_vcpu_destroy(struct vcpu *v)
{
	struct vcpu_nested *n = &v->mmu.nested;
	struct vm_shadow *s = vm_shadow(vcpu_vm(v));

	while (n->spare_nr)
		page_free(n->spare[--n->spare_nr]);
	if (!s)
		return;
	spin_lock(&s->lock);
	root_put(v);
	spin_unlock(&s->lock);
}

/* ---- the whole ---- */

static u32 pages_needed(const struct vm *vm)
{
	return SHADOW_PAGES_MIN + READ_ONCE(vm->virt.nr_vcpus) * SHADOW_PAGES_VCPU;
}

static u32 page_limit(struct vcpu *v)
{
	struct virt_slots *slots = virt_slots(v->virt.vm, v->virt.as_id);
	u64 pages = 0, limit = READ_ONCE(vcpu_vm(v)->mmu.shadow_limit) ?: shadow_pages;
	unsigned int i;

	for (i = 0; i < slots->nr; i++)
		pages += slots->slot[i]->npages;
	/*
	 * L2 that has all of the memory in 4K pages needs one for 512 of them; L1 may have it
	 * twice, and more guests than one.
	 */
	if (!limit)
		limit = pages / (TDP_ENTRIES / 4);
	limit = max_t(u64, limit, pages_needed(vcpu_vm(v)));
	return min_t(u64, limit, SHADOW_PAGES_MAX);
}

static void shadow_free(struct vm_shadow *s)
{
	kvfree(s->page);
	kvfree(s->free_id);
	kvfree(s);
}

static struct vm_shadow *shadow_alloc(u32 max)
{
	struct vm_shadow *s = kvzalloc(sizeof(*s), GFP_KERNEL_ACCOUNT);
	u32 i;

	if (!s)
		return NULL;
	s->page = kvcalloc(max + 1, sizeof(*s->page), GFP_KERNEL_ACCOUNT);
	s->free_id = kvcalloc(max, sizeof(*s->free_id), GFP_KERNEL_ACCOUNT);
	if (!s->page || !s->free_id) {
		shadow_free(s);
		return NULL;
	}
	for (i = 0; i < max; i++)
		s->free_id[i] = i + 1;
	s->max = s->size = max;
	s->seed = get_random_u32();
	spin_lock_init(&s->lock);
	INIT_LIST_HEAD(&s->lru);
	xa_init(&s->frames);
	return s;
}

int shadow_create(struct vcpu *v)
{
	struct vm *vm = vcpu_vm(v);
	struct vm_shadow *s;

	if (likely(vm_shadow(vm)))
		return 0;
	s = shadow_alloc(page_limit(v));
	if (!s)
		return -ENOMEM;
	/* Under the lock, so that who holds it sees a shadow or none all the time. */
	write_lock(&vm->virt.mmu_lock);
	if (!vm->mmu.shadow) {
		smp_store_release(&vm->mmu.shadow, s);
		s = NULL;
	}
	write_unlock(&vm->virt.mmu_lock);
	if (s)
		shadow_free(s);
	return 0;
}

int shadow_set_limit(struct vm *vm, unsigned long nr)
{
	struct vm_shadow *s;

	if (nr < SHADOW_PAGES_MIN)
		return -EINVAL;
	nr = min_t(unsigned long, nr, SHADOW_PAGES_MAX);
	write_lock(&vm->virt.mmu_lock);
	WRITE_ONCE(vm->mmu.shadow_limit, nr);
	s = vm->mmu.shadow;
	if (s)
		WRITE_ONCE(s->max, min_t(u32, max_t(u32, nr, pages_needed(vm)), s->size));
	write_unlock(&vm->virt.mmu_lock);
	return 0;
}

void shadow_reset(struct vm *vm)
{
	struct vm_shadow *s = vm_shadow(vm);
	struct shadow_page *sp;

	if (!s)
		return;
	read_lock(&vm->virt.mmu_lock);
	spin_lock(&s->lock);
	list_for_each_entry(sp, &s->lru, lru)
		if (sp->role.level == vm->mmu.levels)
			shadow_renew(s, sp, false);
	spin_unlock(&s->lock);
	read_unlock(&vm->virt.mmu_lock);
	virt_request_all(&vm->virt, VIRT_REQ_TLB_FLUSH);
}

void shadow_destroy(struct vm *vm)
{
	struct vm_shadow *s = vm->mmu.shadow;
	struct shadow_page *sp, *tmp;
	struct shadow_frames *f;
	unsigned long index;

	if (!s)
		return;
	list_for_each_entry_safe(sp, tmp, &s->lru, lru)
		page_free(sp);
	xa_for_each(&s->frames, index, f)
		kfree(f);
	xa_destroy(&s->frames);
	vm->mmu.shadow = NULL;
	shadow_free(s);
}

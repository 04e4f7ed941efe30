package trackers_test

import (
	"context"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// The calls of TestOracle. Numbers and words are drawn from small ranges, so that
// the same rows are met again and again.

func (o *oracle) createStock(db *gorm.DB) error {
	switch o.IntN(8) {
	case 0:
		return db.Create(&[]stock{{SKU: o.fresh() + "a", Note: o.ptr("n")}, {SKU: o.fresh() + "b"}}).Error
	case 1:
		return db.CreateInBatches([]*stock{{SKU: o.fresh() + "a"}, {SKU: o.fresh() + "b"}, {SKU: o.fresh() + "c"}}, 2).Error
	case 2:
		return db.Model(&stock{}).Create(map[string]any{"SKU": o.fresh(), "Qty": o.IntN(5)}).Error
	case 3:
		return db.Table("stocks").Create(map[string]any{"sku": o.fresh(), "qty": 1, "note": o.maybe("m")}).Error
	case 4:
		return db.Where(stock{SKU: o.word(40)}).Attrs(stock{Qty: 3}).Assign(stock{Note: o.ptr(o.word(4))}).FirstOrCreate(&stock{}).Error
	case 5:
		return db.Clauses(clause.Returning{Columns: columns("qty")}).Create(&stock{SKU: o.fresh(), Qty: 7}).Error
	case 6:
		return gorm.G[stock](db).Create(context.Background(), &stock{SKU: o.fresh()})
	}
	return db.Create(&stock{SKU: o.word(60), Qty: o.IntN(3)}).Error // may be there
}

func (o *oracle) changeStock(db *gorm.DB) error {
	id := o.id(80)
	switch o.IntN(10) {
	case 0:
		return db.Save(&stock{ID: id, SKU: o.fresh(), Qty: o.IntN(9)}).Error
	case 1:
		return db.Model(&stock{ID: id}).Update("note", o.maybe(o.word(3))).Error
	case 2:
		return db.Model(&stock{ID: id}).Updates(stock{Qty: o.IntN(4), Note: o.ptr("u")}).Error
	case 3:
		return db.Model(&stock{}).Where("id % 7 = ?", o.IntN(7)).UpdateColumns(map[string]any{"qty": gorm.Expr("qty + ?", o.IntN(2)), "note": o.maybe("bulk")}).Error
	case 4:
		return db.Table("stocks AS s").Where("s.id BETWEEN ? AND ?", id, id+3).Update("qty", o.IntN(5)).Error
	case 5:
		return db.Model(&[]stock{}).Clauses(clause.Returning{}).Where("qty > ? OR note = ?", 2, "bulk").Update("qty", o.IntN(2)).Error
	case 6:
		return db.Model(&stock{ID: id}).Update("id", 1000+o.IntN(3000)).Error // a new key
	case 7:
		some := db.Model(&stock{}).Select("id").Where("qty = ?", o.IntN(4))
		return db.Model(&stock{}).Where("id IN (?)", some).UpdateColumn("note", db.Raw("SELECT 'sub' || ?", o.IntN(3))).Error
	case 8:
		return db.Model(&stock{}).Clauses(clause.From{Tables: []clause.Table{{Name: "legs"}}}).
			Where("legs.trip = stocks.qty AND stocks.id < ?", id).UpdateColumn("note", gorm.Expr("legs.stop")).Error
	}
	_, err := gorm.G[stock](db).Where("id = ?", id).Updates(context.Background(), stock{Qty: o.IntN(9)})
	return err
}

func (o *oracle) upsertStock(db *gorm.DB) error {
	rows := []stock{{ID: o.id(60), SKU: o.word(60), Qty: o.IntN(5), Note: o.ptr("up")}, {ID: 61 + o.id(60), SKU: o.fresh()}}
	switch o.IntN(7) {
	case 0:
		return db.Clauses(clause.OnConflict{DoNothing: true}).Create(&rows).Error
	case 1:
		return db.Clauses(clause.OnConflict{Columns: columns("sku"), DoUpdates: clause.AssignmentColumns([]string{"qty", "note"})}).Create(&[]stock{{SKU: o.word(60), Qty: 1}, {SKU: o.fresh()}}).Error
	case 2:
		return db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&stock{ID: rows[0].ID, SKU: o.fresh()}).Error
	case 3:
		smaller := clause.Where{Exprs: []clause.Expression{clause.Expr{SQL: "stocks.qty < excluded.qty"}}}
		return db.Clauses(clause.OnConflict{Columns: columns("id"), Where: smaller, DoUpdates: clause.AssignmentColumns([]string{"qty"})}).Create(&rows).Error
	case 4:
		return db.Clauses(clause.OnConflict{Columns: columns("sku"), DoUpdates: clause.Assignments(map[string]any{"qty": gorm.Expr("stocks.qty + 1")})}, clause.Returning{}).Create(&stock{SKU: o.word(60)}).Error
	case 5:
		return db.Save(&[]stock{{ID: rows[0].ID, SKU: o.fresh() + "x"}, {ID: rows[1].ID, SKU: o.fresh() + "y", Qty: 1}}).Error
	}
	return db.Clauses(clause.OnConflict{Columns: columns("sku"), DoUpdates: clause.AssignmentColumns([]string{"id"})}).Create(&stock{ID: int64(4000 + o.steps), SKU: o.word(60)}).Error
}

func (o *oracle) removeStock(db *gorm.DB) error {
	switch o.IntN(5) {
	case 0:
		return db.Where("id % 13 = ? AND qty < ?", o.IntN(13), 3).Delete(&stock{}).Error
	case 1:
		return db.Clauses(clause.Returning{}).Where("id > ?", 1000+o.IntN(4000)).Delete(&[]stock{}).Error
	case 2:
		_, err := gorm.G[stock](db).Where("sku = ?", o.word(60)).Delete(context.Background())
		return err
	}
	return db.Delete(&stock{}, o.id(80)).Error
}

func (o *oracle) legs(db *gorm.DB) error {
	l := leg{Trip: o.IntN(5), Stop: o.word(6)}
	if o.IntN(2) == 0 {
		l.Km = ptr(float64(o.IntN(4)) / 2)
	}
	switch o.IntN(8) {
	case 0, 1:
		return db.Save(&[]leg{l, {Trip: l.Trip + 5, Stop: "a,%"}}).Error
	case 2:
		return db.Clauses(clause.OnConflict{DoNothing: true}).Create(&l).Error
	case 3:
		return db.Model(&leg{}).Where("trip = ?", l.Trip).Update("km", l.Km).Error
	case 4:
		return db.Model(&leg{Trip: l.Trip, Stop: l.Stop}).Update("trip", 20+o.steps).Error
	case 5:
		return db.Model(&leg{}).Where("stop = ? AND trip < 20", l.Stop).UpdateColumn("trip", gorm.Expr("trip + ?", 1000*o.steps)).Error
	case 6:
		return db.Delete(&l).Error
	}
	return db.Where("trip > ? OR km IS NULL", 15).Delete(&leg{}).Error
}

func (o *oracle) task(db *gorm.DB) error {
	id := o.id(30)
	switch o.IntN(11) {
	case 0, 1:
		return db.Create(&task{Title: o.word(9), Team: o.ptr(o.word(3))}).Error
	case 2:
		return db.Save(&task{ID: id, Title: o.word(9), Team: o.ptr(o.word(3))}).Error
	case 3:
		return db.Model(&task{ID: id}).Updates(map[string]any{"team": o.maybe(o.word(3)), "title": o.word(2)}).Error
	case 4:
		return db.Model(&task{}).Where("title = ?", o.word(4)).Or("id = ?", id).Update("team", o.word(3)).Error
	case 5:
		return db.Delete(&task{ID: id}).Error
	case 6:
		return db.Where("team = ?", o.word(3)).Delete(&task{}).Error
	case 7:
		return db.Unscoped().Model(&task{}).Where("id >= ?", id).Update("deleted_at", nil).Error
	case 8:
		return db.Unscoped().Delete(&task{ID: id}).Error
	case 9:
		return db.Unscoped().Model(&task{ID: id}).Updates(map[string]any{"title": "t", "team": o.word(3)}).Error
	}
	return db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&task{ID: id, Title: "again", Team: o.ptr(o.word(3))}).Error
}

func (o *oracle) people(db *gorm.DB) error {
	switch o.IntN(5) {
	case 0, 1:
		return db.Create(&person{Name: o.word(9), Firm: &firm{Name: o.word(9)}, Badge: &badge{No: o.word(9)}, Toys: []toy{{Name: o.word(3)}},
			Pets: []pet{{Name: "a", Toys: []toy{{Name: "b"}}}, {Name: "c"}}, Tongues: []tongue{{Code: o.word(9)}, {Code: "x" + o.word(9)}}}).Error
	case 2:
		return db.Create(&[]person{{Name: "x", Tongues: []tongue{{Code: o.word(9), Name: o.word(2)}}}, {Name: "y", FirmID: nil}}).Error
	case 3:
		p, err := o.loaded(db)
		if err != nil || p.ID == 0 {
			return err
		}
		p.Name = o.word(5)
		if p.Firm != nil {
			p.Firm.Name = o.word(5)
		}
		for i := range p.Pets {
			p.Pets[i].Name = o.word(3)
		}
		return db.Session(&gorm.Session{FullSaveAssociations: o.IntN(2) == 0}).Save(p).Error
	}
	p, err := o.loaded(db)
	if err != nil || p.ID == 0 {
		return err
	}
	return db.Select("Badge", "Pets", "Toys", "Tongues").Delete(p).Error
}

func (o *oracle) loaded(db *gorm.DB) (*person, error) {
	p := &person{}
	err := db.Preload("Firm").Preload("Pets").Preload("Tongues").Order("id DESC").Offset(o.IntN(4)).Limit(1).Find(p).Error
	return p, err
}

func (o *oracle) links(db *gorm.DB) error {
	p := &person{}
	if err := db.Order("id").Offset(o.IntN(5)).Limit(1).Find(p).Error; err != nil || p.ID == 0 {
		return err
	}
	to := func(name string) *gorm.Association { return db.Model(p).Association(name) }
	switch o.IntN(10) {
	case 0:
		return to("Tongues").Append(&tongue{Code: o.word(9)})
	case 1:
		return to("Tongues").Replace(&tongue{Code: o.word(9)}, &tongue{Code: "z" + o.word(9)})
	case 2:
		return to("Tongues").Delete(&tongue{Code: o.word(9)})
	case 3:
		return to("Tongues").Clear()
	case 4:
		return to("Pets").Append(&pet{Name: o.word(3)})
	case 5:
		return to("Pets").Replace(&pet{Name: o.word(3)})
	case 6:
		return to("Pets").Unscoped().Clear()
	case 7:
		return to("Firm").Replace(&firm{Name: o.word(3)})
	case 8:
		return to("Firm").Clear()
	}
	return to("Badge").Replace(&badge{No: o.word(3)})
}

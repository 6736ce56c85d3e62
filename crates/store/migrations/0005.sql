-- Version 5: lines of one call's ladder that are written together stand in one row.

-- How many lines `sealed` holds, each with its leg, time and direction. 0: a single line as it was written before, and `leg`
-- and `sent` are its own.
ALTER TABLE trace ADD COLUMN lines BIGINT NOT NULL DEFAULT 0;
